import type { Bus, BusSubscription } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { partitionOf } from '#shared/protocol/internal-messages.ts';
import { decodeBeacon, decodeNotice, type LogPosition } from '#shared/protocol/log-notice.ts';
import type { Clock } from '#shared/util/clock.ts';
import type { ContextFeed } from '../delivery/context-feed.ts';
import { type Deliverer, Flusher } from '../delivery/flusher.ts';

export interface FeedRegistryOptions {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly contextsMax: number;
  /** How long a context is followed after its last listener left; 0 ends that at once. */
  readonly lingerMs: number;
  /** Contexts that are followed for nobody; those left first go first. */
  readonly lingerContextsMax: number;
  readonly open: (contextId: ContextId, onMove: (feed: Deliverer) => void) => ContextFeed;
  readonly onError: (error: unknown) => void;
}

interface Listened {
  readonly feed: ContextFeed;
  readonly subscription: BusSubscription;
  users: number;
}

/**
 * The feeds of this replica: one per context, alive while somebody local listens, and a while
 * longer, so that who comes back finds what was missed at hand.
 */
export class FeedRegistry {
  readonly #options: FeedRegistryOptions;
  readonly #feeds = new Map<ContextId, Listened>();
  /** Feeds without listeners and when they end, soonest first. */
  readonly #lingering = new Map<ContextId, number>();
  readonly #flusher = new Flusher();
  #sweep: NodeJS.Timeout | undefined;
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
      this.#lingering.delete(contextId);
      known.users += 1;
      return known.feed;
    }
    if (this.#feeds.size >= this.#options.contextsMax && !this.#endOldest()) return null;
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
    const { clock, lingerMs, lingerContextsMax } = this.#options;
    this.#lingering.set(contextId, clock.monotonicMs() + lingerMs);
    if (lingerMs === 0 || this.#lingering.size > lingerContextsMax) this.#endOldest();
    this.#sweep ??= setTimeout(() => this.#endExpired(), lingerMs);
  }

  close(): void {
    clearTimeout(this.#sweep);
    this.#beacons?.unsubscribe();
    for (const contextId of this.#feeds.keys()) this.#end(contextId);
  }

  #endExpired(): void {
    this.#sweep = undefined;
    const nowMs = this.#options.clock.monotonicMs();
    for (const [contextId, untilMs] of this.#lingering) {
      if (untilMs > nowMs) {
        this.#sweep = setTimeout(() => this.#endExpired(), untilMs - nowMs);
        return;
      }
      this.#end(contextId);
    }
  }

  /** False when none is without listeners. */
  #endOldest(): boolean {
    const [oldest] = this.#lingering.keys();
    if (oldest !== undefined) this.#end(oldest);
    return oldest !== undefined;
  }

  #end(contextId: ContextId): void {
    const known = this.#feeds.get(contextId);
    known?.subscription.unsubscribe();
    known?.feed.close();
    this.#feeds.delete(contextId);
    this.#lingering.delete(contextId);
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
