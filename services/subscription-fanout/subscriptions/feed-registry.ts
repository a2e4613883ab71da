import type { Bus, BusSubscription } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { partitionOf } from '#shared/protocol/internal-messages.ts';
import { decodeBeacon, decodeNotice, type LogPosition } from '#shared/protocol/log-notice.ts';
import type { ContextFeed } from '../delivery/context-feed.ts';
import { type Deliverer, Flusher } from '../delivery/flusher.ts';

export interface FeedRegistryOptions {
  readonly bus: Bus;
  readonly contextsMax: number;
  readonly open: (contextId: ContextId, onMove: (feed: Deliverer) => void) => ContextFeed;
  readonly onError: (error: unknown) => void;
}

interface Listened {
  readonly feed: ContextFeed;
  readonly subscription: BusSubscription;
  users: number;
}

/** The feeds of this replica: one per context, alive while somebody local listens. */
export class FeedRegistry {
  readonly #options: FeedRegistryOptions;
  readonly #feeds = new Map<ContextId, Listened>();
  readonly #flusher = new Flusher();
  #beacons: BusSubscription | undefined;

  constructor(options: FeedRegistryOptions) {
    this.#options = options;
  }

  /** Begins to compare head beacons with the feeds. */
  start(): void {
    const { bus } = this.#options;
    this.#beacons = bus.subscribe(subjects.everyBeacon, (payload, subject) =>
      this.#guard(() => this.#compare(decodeBeacon(payload), subjects.partitionOfBeacon(subject))),
    );
    // Whatever was published meanwhile is gone; the log tells.
    bus.onReconnect(() => {
      for (const { feed } of this.#feeds.values()) void feed.catchUp();
    });
  }

  /** The context's feed; each call needs one `release`. Null when there are too many contexts. */
  acquire(contextId: ContextId): ContextFeed | null {
    const known = this.#feeds.get(contextId);
    if (known !== undefined) {
      known.users += 1;
      return known.feed;
    }
    if (this.#feeds.size >= this.#options.contextsMax) return null;
    let feed: ContextFeed | undefined;
    // The subject first, the head after it: no transaction falls between the two.
    const subscription = this.#options.bus.subscribe(subjects.log(contextId), (payload) =>
      this.#guard(() => feed?.accept(decodeNotice(payload))),
    );
    feed = this.#options.open(contextId, (moved) => this.#flusher.schedule(moved));
    this.#feeds.set(contextId, { feed, subscription, users: 1 });
    return feed;
  }

  release(contextId: ContextId): void {
    const known = this.#feeds.get(contextId);
    if (known === undefined) return;
    known.users -= 1;
    if (known.users > 0) return;
    known.subscription.unsubscribe();
    known.feed.close();
    this.#feeds.delete(contextId);
  }

  close(): void {
    this.#beacons?.unsubscribe();
    for (const { feed, subscription } of this.#feeds.values()) {
      subscription.unsubscribe();
      feed.close();
    }
    this.#feeds.clear();
  }

  /** An empty beacon announces a new owner: what the one before did not announce is in the log. */
  #compare(heads: readonly LogPosition[], partition: number): void {
    for (const head of heads) this.#feeds.get(head.contextId)?.feed.accept(head);
    if (heads.length > 0) return;
    for (const [contextId, { feed }] of this.#feeds) {
      if (partitionOf(contextId) === partition) void feed.catchUp();
    }
  }

  #guard(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#options.onError(error);
    }
  }
}
