import type { ContextId } from '#shared/domain/ids.ts';
import type { FrameError, SincePosition } from '#shared/protocol/websocket.ts';
import type { ContextFeed } from '../delivery/context-feed.ts';
import { Cursor, type Outlet } from '../delivery/cursor.ts';
import type { FrameFormat } from '../delivery/frame-view.ts';
import type { FeedRegistry } from './feed-registry.ts';

/** `since` names no context that is not in `contextIds`. */
export interface SubscribeRequest {
  readonly contextIds: readonly ContextId[];
  readonly since: ReadonlyMap<ContextId, SincePosition>;
}

export interface SubscriptionsOptions {
  readonly registry: FeedRegistry;
  readonly outlet: Outlet;
  readonly subscriptionsMax: number;
  readonly subscribeMs: number;
  /** Called with +1 or −1. */
  readonly onCount: (change: number) => void;
}

/** What one connection listens to. A subscribe takes effect whole or not at all. */
export class Subscriptions {
  readonly #options: SubscriptionsOptions;
  readonly #cursors = new Map<ContextId, Cursor>();
  #isClosed = false;

  constructor(options: SubscriptionsOptions) {
    this.#options = options;
  }

  /**
   * Subscribes and calls `reply` with the error, or with null right before the first event. Waits
   * until the head of each context is known, so that whatever is committed after the reply is
   * delivered.
   */
  async subscribe(
    request: SubscribeRequest,
    format: FrameFormat,
    reply: (error: FrameError | null) => void,
  ): Promise<void> {
    const fresh = new Set(request.contextIds.filter((id) => !this.#cursors.has(id)));
    const feeds = new Map<ContextId, ContextFeed>();
    const error = this.#refuse(request, fresh) ?? (await this.#prepare(request, fresh, feeds));
    if (error !== null || this.#isClosed) {
      for (const contextId of feeds.keys()) this.#options.registry.release(contextId);
      if (error !== null && !this.#isClosed) reply(error);
      return;
    }
    reply(null);
    const { outlet } = this.#options;
    for (const [contextId, feed] of feeds) {
      const since = request.since.get(contextId);
      const next = (since === undefined ? feed.head : since.sequence) + 1n;
      this.#cursors.set(contextId, new Cursor(feed.view(format), outlet, next));
      this.#options.onCount(1);
    }
    this.pump();
  }

  get size(): number {
    return this.#cursors.size;
  }

  /** Sequence of the last transaction that was written, by context. */
  get positions(): ReadonlyMap<ContextId, bigint> {
    return new Map([...this.#cursors].map(([contextId, { position }]) => [contextId, position]));
  }

  get contextIds(): readonly ContextId[] {
    return [...this.#cursors.keys()];
  }

  unsubscribe(contextIds: readonly ContextId[]): void {
    for (const contextId of contextIds) {
      const cursor = this.#cursors.get(contextId);
      if (cursor === undefined) continue;
      cursor.close();
      this.#cursors.delete(contextId);
      this.#options.registry.release(contextId);
      this.#options.onCount(-1);
    }
  }

  /** Continues every position after the outlet became writable. */
  pump(): void {
    for (const cursor of this.#cursors.values()) cursor.pump();
  }

  close(): void {
    this.#isClosed = true;
    this.unsubscribe([...this.#cursors.keys()]);
  }

  #refuse(request: SubscribeRequest, fresh: ReadonlySet<ContextId>): FrameError | null {
    const { subscriptionsMax } = this.#options;
    if (this.#cursors.size + fresh.size > subscriptionsMax) {
      const data = `too many subscriptions: at most ${subscriptionsMax} per connection`;
      return { type: 'ParseError', data };
    }
    for (const contextId of request.since.keys()) {
      if (fresh.has(contextId)) continue;
      const data = `already subscribed to ${contextId}: unsubscribe first to use \`since\``;
      return { type: 'ParseError', data };
    }
    return null;
  }

  async #prepare(
    request: SubscribeRequest,
    fresh: ReadonlySet<ContextId>,
    feeds: Map<ContextId, ContextFeed>,
  ): Promise<FrameError | null> {
    for (const contextId of fresh) {
      const feed = this.#options.registry.acquire(contextId);
      if (feed === null) return internal('this server follows too many contexts');
      feeds.set(contextId, feed);
    }
    const checks = [...feeds].map(
      async ([contextId, feed]) => await check(contextId, feed, request.since.get(contextId)),
    );
    const { promise: expired, resolve } = Promise.withResolvers<null>();
    const timer = setTimeout(() => resolve(null), this.#options.subscribeMs);
    try {
      const errors = await Promise.race([Promise.all(checks), expired]);
      if (errors === null) return internal('the log cannot be read at present');
      return errors.find((error) => error !== null) ?? null;
    } catch {
      return internal('the log cannot be read at present');
    } finally {
      clearTimeout(timer);
    }
  }
}

/** Tells whether a feed can serve from a position, once its head is known. */
async function check(
  contextId: ContextId,
  feed: ContextFeed,
  since: SincePosition | undefined,
): Promise<FrameError | null> {
  await feed.ready;
  if (since === undefined) return null;
  const { sequence, hash } = since;
  if (sequence > feed.head) await feed.catchUp();
  const isThere = sequence <= feed.head;
  if (isThere && hash === null) return null;
  if (isThere && hash === (await feed.hashAt(sequence))) return null;
  return { type: 'ResyncRequired', data: { contextId, sequence: sequence.toString() } };
}

function internal(reason: string): FrameError {
  return { type: 'InternalError', data: { reason } };
}
