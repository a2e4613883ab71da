import type { ServerResponse } from 'node:http';
import type { ContextId } from '#shared/domain/ids.ts';
import { can, type Principal } from '#shared/domain/permissions.ts';
import { encodeSseId } from '#shared/protocol/sse.ts';
import type { EventKinds } from '#shared/protocol/websocket.ts';
import type { SseSession } from '#shared/store/sse-session-store.ts';
import { Caller, type CallerOptions } from '../callers/caller.ts';
import type { Judged } from '../callers/recheck-all.ts';
import type { Outlet } from '../delivery/cursor.ts';
import type { Batch, FrameFormat } from '../delivery/frame-view.ts';
import type { FeedRegistry } from '../subscriptions/feed-registry.ts';
import { Subscriptions } from '../subscriptions/subscriptions.ts';

export interface SseStreamOptions
  extends Pick<CallerOptions, 'principal' | 'credentials' | 'clock'> {
  readonly sessionId: string;
  readonly response: ServerResponse;
  readonly registry: FeedRegistry;
  readonly formatOf: (kinds: EventKinds) => FrameFormat;
  /** What the session listens to now; null when it is not there any more. */
  readonly load: () => Promise<SseSession | null>;
  readonly subscriptionsMax: number;
  readonly subscribeMs: number;
  readonly outgoingBytesMax: number;
  readonly onDelivered: (frames: number) => void;
  readonly onCount: (change: number) => void;
  readonly onError: (error: unknown) => void;
}

const RETRY_MS = 3_000;

/** One stream of a session. Slow ones hold a position, not a queue, as WebSockets do. */
export class SseStream implements Outlet, Judged {
  readonly caller: Caller;
  readonly #options: SseStreamOptions;
  readonly #subscriptions: Subscriptions;
  readonly #slots = new Map<ContextId, number>();
  /** Where the client will stand, of each context that moved since the stream began. */
  readonly #moved = new Map<number, bigint>();
  #isRefreshing = false;
  #isStale = false;
  #isLagging = false;
  #flushedMax = Number.NEGATIVE_INFINITY;
  #progressMs = 0;

  constructor(options: SseStreamOptions) {
    this.#options = options;
    this.caller = new Caller({
      ...options,
      authenticateMs: 0,
      verify: () => Promise.reject(new Error('a stream takes no other credentials')),
      onEnd: (reason) => this.end(reason),
    });
    this.#subscriptions = new Subscriptions({ ...options, outlet: this });
    options.response.on('drain', () => {
      this.#isLagging = false;
      this.#subscriptions.pump();
    });
    options.response.on('error', () => undefined);
    options.response.on('close', () => {
      this.caller.close();
      this.#subscriptions.close();
    });
  }

  /** Tells the session and begins to deliver. */
  begin(isReconnect: boolean): void {
    const { sessionId, response } = this.#options;
    const data = JSON.stringify({
      type: 'connect',
      session_id: sessionId,
      reconnect: isReconnect,
    });
    const id = encodeSseId(sessionId, new Map());
    response.write(`event: message\nid: ${id}\nretry: ${RETRY_MS}\ndata: ${data}\n\n`);
    this.refresh();
  }

  /** What the session listens to may have changed. */
  refresh(): void {
    this.#isStale = true;
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    this.#reload().catch((error: unknown) => {
      this.#options.onError(error);
      // The client comes back, and gets from the log what it lacks.
      this.#options.response.destroy();
    });
  }

  isWritable(): boolean {
    const { outgoingBytesMax, response } = this.#options;
    if (!response.writable) return false;
    if (response.writableLength > outgoingBytesMax) this.#isLagging = true;
    return !this.#isLagging;
  }

  write(batch: Batch): void {
    const slot = this.#slots.get(batch.contextId);
    if (slot === undefined) return;
    const parts: Buffer[] = [];
    for (const { sequence, bytes, frames } of batch.pieces()) {
      this.#moved.set(slot, sequence);
      if (frames === 0) continue;
      const id = encodeSseId(this.#options.sessionId, this.#moved);
      parts.push(bytes, Buffer.from(`id: ${id}\n\n`));
    }
    if (parts.length > 0) this.#options.response.write(Buffer.concat(parts));
    this.#options.onDelivered(batch.frames);
  }

  /** A comment, which keeps proxies from taking the connection for dead. */
  beat(): void {
    if (this.isWritable()) this.#options.response.write(':\n\n');
  }

  /** Cuts the stream when it has been lagging for `lagMs` without taking a byte. */
  checkProgress(nowMs: number, lagMs: number): void {
    const { socket } = this.#options.response;
    const flushed = (socket?.bytesWritten ?? 0) - (socket?.writableLength ?? 0);
    if (!this.#isLagging || flushed > this.#flushedMax) {
      this.#flushedMax = Math.max(this.#flushedMax, flushed);
      this.#progressMs = nowMs;
    } else if (nowMs - this.#progressMs >= lagMs) this.#options.response.destroy();
  }

  become(principal: Principal): void {
    this.caller.become(principal);
    if (this.#subscriptions.contextIds.every((contextId) => this.#mayFollow(contextId))) return;
    this.end('the permission to subscribe was taken back');
  }

  refuse(): void {
    this.end(
      this.caller.isExpired() ? 'the token expired' : 'the credentials are not valid any more',
    );
  }

  /** Says why, and after how long to come back if at all. */
  end(reason: string, retryMs = RETRY_MS): void {
    this.caller.close();
    this.#subscriptions.close();
    const data = JSON.stringify({ type: 'close', reason });
    this.#options.response.end(`event: close\nretry: ${retryMs}\ndata: ${data}\n\n`);
  }

  #mayFollow(contextId: ContextId): boolean {
    return can(this.caller.principal, 'context_subscribe', contextId);
  }

  async #reload(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      const session = await this.#options.load();
      if (session === null) return this.end('the session is over');
      await this.#apply(session);
    }
    this.#isRefreshing = false;
  }

  async #apply({ subscriptions }: SseSession): Promise<void> {
    for (const [contextId, slot] of this.#slots) {
      if (subscriptions.has(slot)) continue;
      this.#subscriptions.unsubscribe([contextId]);
      this.#slots.delete(contextId);
      this.#moved.delete(slot);
    }
    for (const [slot, { contextId, since, kinds }] of subscriptions) {
      if (this.#slots.has(contextId)) continue;
      if (!this.#mayFollow(contextId)) {
        return this.end('the permission to subscribe was taken back');
      }
      this.#slots.set(contextId, slot);
      const request = {
        contextIds: [contextId],
        since: new Map([[contextId, { sequence: since, hash: null }]]),
      };
      await this.#subscriptions.subscribe(request, this.#options.formatOf(kinds), (error) => {
        if (error === null) return;
        if (error.type !== 'ResyncRequired') throw new Error('a context cannot be followed now');
        this.#options.response.write(`data: ${JSON.stringify({ error })}\n\n`);
      });
    }
  }
}
