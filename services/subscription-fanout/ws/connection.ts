import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import {
  type ClientFrame,
  encodeEcho,
  encodeError,
  parseClientFrame,
} from '#shared/protocol/websocket.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { can, type Principal } from '#shared/domain/permissions.ts';
import type { Outlet } from '../delivery/cursor.ts';
import type { Batch, FrameFormat } from '../delivery/frame-view.ts';
import type { FeedRegistry } from '../subscriptions/feed-registry.ts';
import { Subscriptions } from '../subscriptions/subscriptions.ts';
import { encodeTextFrame } from './text-frame.ts';

const FRAMES_WAITING_MAX = 64;
const MISSED_PONGS_MAX = 2;
const SLOW_CONSUMER = 4008;
export const POLICY_VIOLATION = 1008;

export interface ConnectionOptions {
  /** Who it is; `become` changes it. */
  readonly principal: Principal;
  readonly webSocket: WebSocket;
  readonly socket: Duplex;
  readonly registry: FeedRegistry;
  readonly format: FrameFormat;
  readonly subscriptionsMax: number;
  readonly subscribeMs: number;
  readonly outgoingBytesMax: number;
  readonly onDelivered: (frames: number) => void;
  readonly onCount: (change: number) => void;
  readonly onError: (error: unknown) => void;
}

/**
 * One WebSocket. Frames of the client are handled one after another; events are written as bytes
 * that were framed once for everybody.
 *
 * | state   | when                                        | events                            |
 * | ------- | ------------------------------------------- | --------------------------------- |
 * | open    | at most `outgoingBytesMax` bytes unwritten  | are written                       |
 * | lagging | above that, until the socket drained        | stay in ring and log, at a cursor |
 * | closed  | either side closes, or it lags without progress |  none                         |
 */
export class Connection implements Outlet {
  readonly #options: ConnectionOptions;
  readonly #subscriptions: Subscriptions;
  readonly #frames: string[] = [];
  #principal: Principal;
  #isHandling = false;
  #isLagging = false;
  #isCorked = false;
  #missedPongs = 0;
  #bytesOut = 0;
  #flushedMax = Number.NEGATIVE_INFINITY;
  #progressMs = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#principal = options.principal;
    const { webSocket, socket } = options;
    this.#subscriptions = new Subscriptions({
      ...options,
      outlet: this,
    });
    webSocket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    webSocket.on('pong', () => {
      this.#missedPongs = 0;
    });
    // The library answers a protocol error by closing; there is nothing to add.
    webSocket.on('error', () => undefined);
    webSocket.on('close', () => this.#subscriptions.close());
    socket.on('drain', () => this.#onDrain());
  }

  isWritable(): boolean {
    if (this.#options.webSocket.readyState !== this.#options.webSocket.OPEN) return false;
    if (this.#options.socket.writableLength > this.#options.outgoingBytesMax) {
      this.#isLagging = true;
    }
    return !this.#isLagging;
  }

  write({ bytes, frames }: Batch): void {
    if (frames === 0) return;
    // Of one context all that is due comes in one batch.
    if (this.#subscriptions.size === 1) this.#writeNow(bytes);
    else this.#writeSoon(bytes);
    this.#options.onDelivered(frames);
  }

  /** Pings, or ends the connection when the last pings found no answer. */
  beat(): void {
    // Behind a full buffer, or while reading is paused, no pong can be expected.
    if (this.#isLagging || this.#options.webSocket.isPaused) return;
    if (this.#missedPongs >= MISSED_PONGS_MAX) {
      this.#options.webSocket.terminate();
      return;
    }
    this.#missedPongs += 1;
    if (this.#options.webSocket.readyState === this.#options.webSocket.OPEN) {
      this.#options.webSocket.ping();
    }
  }

  /** Closes the connection when it has been lagging for `lagMs` without taking a byte. */
  checkProgress(nowMs: number, lagMs: number): void {
    const flushed = this.#bytesOut - this.#options.socket.writableLength;
    if (!this.#isLagging || flushed > this.#flushedMax) {
      this.#flushedMax = Math.max(this.#flushedMax, flushed);
      this.#progressMs = nowMs;
    } else if (nowMs - this.#progressMs >= lagMs) {
      this.close(SLOW_CONSUMER, 'slow consumer');
    }
  }

  /** What its caller may do changed; a subscription that it may not have any more ends it. */
  become(principal: Principal): void {
    this.#principal = principal;
    const mayKeep = this.#subscriptions.contextIds.every((contextId) => this.#mayFollow(contextId));
    if (!mayKeep) this.close(POLICY_VIOLATION, 'the permission to subscribe was taken back');
  }

  #mayFollow(contextId: ContextId): boolean {
    return can(this.#principal, 'context_subscribe', contextId);
  }

  close(code: number, reason: string): void {
    this.#subscriptions.close();
    this.#options.webSocket.close(code, reason);
  }

  terminate(): void {
    this.#options.webSocket.terminate();
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (isBinary) return;
    this.#frames.push((data as Buffer).toString());
    if (this.#frames.length >= FRAMES_WAITING_MAX) this.#options.webSocket.pause();
    this.#handleFrames();
  }

  /** One handler at a time; it rests while the client does not read its replies. */
  #handleFrames(): void {
    if (this.#isHandling) return;
    this.#isHandling = true;
    this.#handleWaiting().catch(this.#options.onError);
  }

  async #handleWaiting(): Promise<void> {
    const { webSocket } = this.#options;
    try {
      while (this.isWritable()) {
        const text = this.#frames.shift();
        if (text === undefined) break;
        await this.#handle(parseClientFrame(text));
      }
    } finally {
      this.#isHandling = false;
    }
    if (this.#frames.length < FRAMES_WAITING_MAX && webSocket.isPaused) webSocket.resume();
  }

  async #handle(frame: ClientFrame): Promise<void> {
    if (frame.kind === 'ignored') return;
    if (frame.kind === 'invalid') {
      this.#send(encodeError(frame.id, { type: 'ParseError', data: frame.reason }));
      return;
    }
    const echo = encodeEcho(frame.id, frame.contextIds);
    if (frame.kind === 'unsubscribe') {
      this.#subscriptions.unsubscribe(frame.contextIds);
      this.#send(echo);
      return;
    }
    const refused = frame.contextIds.find((contextId) => !this.#mayFollow(contextId));
    if (refused !== undefined) {
      this.#send(encodeError(frame.id, { type: 'Unauthorized', data: { contextId: refused } }));
      return;
    }
    const before = this.#principal;
    await this.#subscriptions.subscribe(frame, (error) =>
      this.#send(error === null ? echo : encodeError(frame.id, error)),
    );
    // The permission may have been taken back while the head was looked up.
    if (this.#principal !== before) this.become(this.#principal);
  }

  #send(text: string): void {
    if (this.#options.webSocket.readyState !== this.#options.webSocket.OPEN) return;
    this.#writeSoon(encodeTextFrame(text));
  }

  /** What is written in one turn of the event loop leaves in one system call. */
  #writeSoon(bytes: Buffer): void {
    const { socket } = this.#options;
    if (!this.#isCorked) {
      this.#isCorked = true;
      socket.cork();
      process.nextTick(() => {
        this.#isCorked = false;
        socket.uncork();
      });
    }
    this.#writeNow(bytes);
  }

  #writeNow(bytes: Buffer): void {
    this.#bytesOut += bytes.length;
    this.#options.socket.write(bytes);
  }

  #onDrain(): void {
    if (!this.#isLagging) return;
    this.#isLagging = false;
    this.#subscriptions.pump();
    this.#handleFrames();
  }
}
