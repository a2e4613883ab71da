import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { can, type Principal } from '#shared/domain/permissions.ts';
import {
  type ClientFrame,
  encodeAuthenticated,
  encodeEcho,
  encodeError,
  type EventKinds,
  type FrameId,
  parseClientFrame,
} from '#shared/protocol/websocket.ts';
import type { Judged } from '../callers/recheck-all.ts';
import type { Outlet } from '../delivery/cursor.ts';
import type { Batch, FrameFormat } from '../delivery/frame-view.ts';
import type { FeedRegistry } from '../subscriptions/feed-registry.ts';
import { type SubscribeRequest, Subscriptions } from '../subscriptions/subscriptions.ts';
import { Caller, type CallerOptions } from '../callers/caller.ts';
import type { Calls } from './calls.ts';
import { CLOSE } from './close-codes.ts';
import { encodeTextFrame } from './text-frame.ts';

const FRAMES_WAITING_MAX = 64;
const MISSED_PONGS_MAX = 2;

export interface ConnectionOptions extends Omit<CallerOptions, 'onEnd'> {
  readonly webSocket: WebSocket;
  readonly socket: Duplex;
  readonly registry: FeedRegistry;
  readonly formatOf: (kinds: EventKinds) => FrameFormat;
  readonly calls: Calls;
  readonly callsMax: number;
  readonly subscriptionsMax: number;
  readonly subscribeMs: number;
  readonly outgoingBytesMax: number;
  readonly onDelivered: (frames: number) => void;
  readonly onCount: (change: number) => void;
  readonly onError: (error: unknown) => void;
}

/**
 * One WebSocket. Frames of the client are handled one after another, but for calls, which are
 * answered as they end; events are written as bytes that were framed once for everybody.
 *
 * | state   | when                                        | events                            |
 * | ------- | ------------------------------------------- | --------------------------------- |
 * | unknown | until it authenticates, within a deadline   | none; nothing else is taken       |
 * | open    | at most `outgoingBytesMax` bytes unwritten  | are written                       |
 * | lagging | above that, until the socket drained        | stay in ring and log, at a cursor |
 * | closed  | either side closes, or it lags without progress |  none                         |
 */
export class Connection implements Outlet, Judged {
  readonly caller: Caller;
  readonly #options: ConnectionOptions;
  readonly #subscriptions: Subscriptions;
  readonly #frames: string[] = [];
  #calls = 0;
  #isHandling = false;
  #isLagging = false;
  #isCorked = false;
  #missedPongs = 0;
  #bytesOut = 0;
  #flushedMax = Number.NEGATIVE_INFINITY;
  #progressMs = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.caller = new Caller({
      ...options,
      onEnd: (reason) => this.close(CLOSE.unauthenticated, reason),
    });
    this.#subscriptions = new Subscriptions({ ...options, outlet: this });
    const { webSocket, socket } = options;
    webSocket.on('message', (data, isBinary) => this.#receive(data, isBinary));
    webSocket.on('pong', () => {
      this.#missedPongs = 0;
    });
    // The library answers a protocol error by closing; there is nothing to add.
    webSocket.on('error', () => undefined);
    webSocket.on('close', () => {
      this.caller.close();
      this.#subscriptions.close();
    });
    socket.on('drain', () => this.#onDrain());
  }

  isWritable(): boolean {
    if (!this.#isOpen) return false;
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
    if (this.#missedPongs >= MISSED_PONGS_MAX) return this.terminate();
    this.#missedPongs += 1;
    if (this.#isOpen) this.#options.webSocket.ping();
  }

  /** Closes the connection when it has been lagging for `lagMs` without taking a byte. */
  checkProgress(nowMs: number, lagMs: number): void {
    const flushed = this.#bytesOut - this.#options.socket.writableLength;
    if (!this.#isLagging || flushed > this.#flushedMax) {
      this.#flushedMax = Math.max(this.#flushedMax, flushed);
      this.#progressMs = nowMs;
    } else if (nowMs - this.#progressMs >= lagMs) {
      this.close(CLOSE.slowConsumer, this.#slowReason());
    }
  }

  /** What its caller may do changed; a subscription that it may not have any more ends it. */
  become(principal: Principal): void {
    this.caller.become(principal);
    this.#demandPermissions();
  }

  /** Its credentials are refused now. */
  refuse(): void {
    if (this.caller.isExpired()) this.close(CLOSE.unauthenticated, 'the token expired');
    else this.close(CLOSE.policyViolation, 'the credentials are not valid any more');
  }

  close(code: number, reason: string): void {
    this.caller.close();
    this.#subscriptions.close();
    this.#options.webSocket.close(code, reason);
  }

  terminate(): void {
    this.#options.webSocket.terminate();
  }

  get #isOpen(): boolean {
    return this.#options.webSocket.readyState === this.#options.webSocket.OPEN;
  }

  #mayFollow(contextId: ContextId): boolean {
    return can(this.caller.principal, 'context_subscribe', contextId);
  }

  #demandPermissions(): void {
    const mayKeep = this.#subscriptions.contextIds.every((contextId) => this.#mayFollow(contextId));
    if (mayKeep) return;
    this.close(CLOSE.policyViolation, 'the permission to subscribe was taken back');
  }

  /** With the position of the last transaction that was written, where there is only one. */
  #slowReason(): string {
    const positions = this.#subscriptions.positions;
    if (positions.size !== 1) return 'slow consumer';
    const since = Object.fromEntries([...positions].map(([id, at]) => [id, at.toString()]));
    return `slow consumer, since ${JSON.stringify(since)}`;
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
    if (frame.kind === 'authenticate') return await this.#authenticate(frame.id, frame.token);
    if (!this.caller.isKnown) {
      const id = frame.kind === 'ignored' || frame.kind === 'call' ? null : frame.id;
      return this.#refuseUnknown(id, 'authenticate first');
    }
    switch (frame.kind) {
      case 'ignored':
        return;
      case 'invalid':
        return this.#send(encodeError(frame.id, { type: 'ParseError', data: frame.reason }));
      case 'call':
        return void this.#call(frame.body).catch(this.#options.onError);
      case 'unsubscribe':
        this.#subscriptions.unsubscribe(frame.contextIds);
        return this.#send(encodeEcho(frame.id, frame.contextIds));
      case 'subscribe':
        return await this.#subscribe(frame.id, frame, this.#options.formatOf(frame.kinds));
    }
  }

  async #authenticate(id: FrameId, token: string): Promise<void> {
    try {
      await this.caller.authenticate(token);
      const { principal } = this.caller;
      this.#send(encodeAuthenticated(id, principal.id, principal.expiresMs ?? null));
      this.#demandPermissions();
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (!this.caller.isKnown) return this.#refuseUnknown(id, error.message);
      this.#send(encodeError(id, { type: 'Unauthorized', data: { reason: error.message } }));
    }
  }

  #refuseUnknown(id: FrameId, reason: string): void {
    this.#send(encodeError(id, { type: 'Unauthorized', data: { reason } }));
    this.close(CLOSE.unauthenticated, 'authenticate first');
  }

  async #call(body: string): Promise<void> {
    const { calls, callsMax } = this.#options;
    this.#calls += 1;
    try {
      this.#send(await calls.answer(body, this.caller.principal, this.#calls > callsMax));
    } finally {
      this.#calls -= 1;
    }
  }

  async #subscribe(id: FrameId, request: SubscribeRequest, format: FrameFormat): Promise<void> {
    const refused = request.contextIds.find((contextId) => !this.#mayFollow(contextId));
    if (refused !== undefined) {
      this.#send(encodeError(id, { type: 'Unauthorized', data: { contextId: refused } }));
      return;
    }
    await this.#subscriptions.subscribe(request, format, (error) =>
      this.#send(error === null ? encodeEcho(id, request.contextIds) : encodeError(id, error)),
    );
    // The permission may have been taken back while the head was looked up.
    this.#demandPermissions();
  }

  #send(text: string): void {
    if (this.#isOpen) this.#writeSoon(encodeTextFrame(text));
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
