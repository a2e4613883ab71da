import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Bus, BusSubscription } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { AppError, ERROR_TABLE } from '#shared/domain/app-error.ts';
import type { Principal } from '#shared/domain/permissions.ts';
import { isSseSessionId, parseSseId, parseSseRequest } from '#shared/protocol/sse.ts';
import { type Authenticate, credentialsOf, retryAfterOf } from '#shared/service/authenticate.ts';
import { authorize, authorizeSomewhere } from '#shared/service/authorize.ts';
import { CORS_HEADERS } from '#shared/service/cors.ts';
import { readBody } from '#shared/service/read-body.ts';
import type { TrustedProxies } from '#shared/service/trusted-proxies.ts';
import type { SseSession } from '#shared/store/sse-session-store.ts';
import type { Random } from '#shared/util/random.ts';
import { type Recheck, recheckAll } from '../callers/recheck-all.ts';
import type { FanoutConfig } from '../config.ts';
import { ResyncRequired, type SseSessions } from './sse-sessions.ts';
import { SseStream, type SseStreamOptions } from './sse-stream.ts';

export interface SseDoorOptions {
  readonly bus: Bus;
  readonly random: Random;
  readonly config: FanoutConfig;
  readonly authenticate: Authenticate;
  readonly proxies: TrustedProxies;
  readonly recheck: Recheck;
  readonly sessions: SseSessions;
  readonly stream: Pick<
    SseStreamOptions,
    'registry' | 'formatOf' | 'clock' | 'onDelivered' | 'onCount' | 'onError'
  >;
}

const PROGRESS_CHECK_MS = 1_000;
const SESSION_PATH = /^\/sse\/session\/([^/]+)$/;

/** `/sse`: streams, and what they listen to. */
export class SseDoor {
  readonly #options: SseDoorOptions;
  readonly #streams = new Map<SseStream, BusSubscription>();
  readonly #timers: NodeJS.Timeout[] = [];
  #isClosing = false;

  constructor(options: SseDoorOptions) {
    this.#options = options;
  }

  start(): void {
    const { bus, config, stream } = this.#options;
    const beat = () => {
      for (const each of this.#streams.keys()) each.beat();
      void this.recheck();
    };
    const checkProgress = () => {
      const nowMs = stream.clock.monotonicMs();
      for (const each of this.#streams.keys()) each.checkProgress(nowMs, config.lagMs);
    };
    this.#timers.push(
      setInterval(beat, config.heartbeatMs),
      setInterval(checkProgress, Math.min(PROGRESS_CHECK_MS, config.lagMs)),
    );
    // A change may have been told meanwhile.
    bus.onReconnect(() => {
      for (const each of this.#streams.keys()) each.refresh();
    });
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    this.#answer(request, response).catch((error: unknown) => {
      if (error instanceof ResyncRequired) {
        const { contextId, sequence } = error;
        const data = { contextId, sequence: sequence.toString() };
        return sendJson(response, 409, { error: { type: 'ResyncRequired', data } });
      }
      if (!(error instanceof AppError)) this.#options.stream.onError(error);
      const known = error instanceof AppError ? error : new AppError('internal', 'internal error');
      if (known.code === 'rate_limited') response.setHeader('retry-after', retryAfterOf(known));
      return sendJson(response, ERROR_TABLE[known.code].status, { error: known.message });
    });
  }

  async recheck(): Promise<void> {
    const { recheck, stream } = this.#options;
    await recheckAll(this.#streams.keys(), recheck, stream.onError);
  }

  /** Ends every stream; each is told another time to come back after. */
  close(): void {
    const { config, random } = this.#options;
    this.#isClosing = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const [stream, subscription] of this.#streams) {
      subscription.unsubscribe();
      const part = Buffer.from(random(4)).readUInt32BE() / 2 ** 32;
      stream.end('service restart', Math.ceil(part * config.drainMs));
    }
    this.#streams.clear();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method } = request;
    const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
    if (method === 'OPTIONS') return void response.writeHead(204, CORS_HEADERS).end();
    const sessionId = SESSION_PATH.exec(path)?.[1];
    const allowed = path === '/sse/subscription' ? 'POST' : 'GET';
    if (path !== '/sse' && path !== '/sse/subscription' && sessionId === undefined) {
      throw new AppError('not_found', 'Not found');
    }
    if (method !== allowed) return void response.writeHead(405, { allow: allowed }).end();
    const principal = await this.#options.authenticate(request);
    authorizeSomewhere(principal, 'context_subscribe');
    if (path === '/sse') return await this.#open(request, response, principal);
    if (sessionId !== undefined) {
      const session = await this.#options.sessions.find(sessionId, principal.id);
      return sendJson(response, 200, { result: describe(session) });
    }
    sendJson(response, 200, await this.#change(request, principal));
  }

  async #change(request: IncomingMessage, principal: Principal): Promise<object> {
    const { config, sessions } = this.#options;
    const body = await readBody(request, config.frameBytesMax);
    const change = parseSseRequest(body.toString());
    const { contextIds } = change;
    if (change.kind === 'unsubscribe') {
      const unsubscribed = await sessions.unsubscribe(change, principal.id);
      return { result: { status: 'unsubscribed', unsubscribed, requested: contextIds } };
    }
    for (const contextId of contextIds) authorize(principal, 'context_subscribe', contextId);
    await sessions.subscribe(change, principal.id);
    return { result: { status: 'subscribed', contexts: contextIds } };
  }

  async #open(
    request: IncomingMessage,
    response: ServerResponse,
    principal: Principal,
  ): Promise<void> {
    const { bus, config, proxies, random, sessions, stream: common } = this.#options;
    if (this.#isClosing) throw new AppError('unavailable', 'the server is going away');
    if (this.#streams.size >= config.connectionsMax) {
      throw new AppError('overloaded', 'too many connections');
    }
    const resumed = await this.#resume(request, principal);
    const { sessionId } = resumed ?? (await sessions.create(principal.id));
    if (response.destroyed || this.#isClosing) return void response.destroy();
    const stream = new SseStream({
      ...common,
      sessionId,
      response,
      principal,
      credentials: credentialsOf(request, proxies),
      load: () => sessions.find(sessionId, principal.id).catch(nullWhenGone),
      subscriptionsMax: config.sseSubscriptionsMax,
      subscribeMs: config.subscribeMs,
      outgoingBytesMax: config.outgoingBytesMax,
    });
    // Two streams of one session would both move it: the newer one takes it over.
    const own = Buffer.from(random(8)).toString('hex');
    const subject = subjects.sseSession(sessionId);
    const subscription = bus.subscribe(subject, (payload) => {
      const text = Buffer.from(payload).toString();
      if (text === '') stream.refresh();
      else if (text !== own) stream.end('another stream of the session began');
    });
    this.#streams.set(stream, subscription);
    response.on('close', () => {
      subscription.unsubscribe();
      this.#streams.delete(stream);
    });
    bus.publish(subject, Buffer.from(own));
    response.writeHead(200, {
      ...CORS_HEADERS,
      'content-type': 'text/event-stream',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
    });
    request.socket.setNoDelay(true);
    stream.begin(resumed !== null);
  }

  async #resume({ headers }: IncomingMessage, principal: Principal): Promise<SseSession | null> {
    const { sessions } = this.#options;
    const lastId = headers['last-event-id'];
    if (typeof lastId === 'string' && lastId !== '') {
      const parsed = parseSseId(lastId);
      if (parsed === null) throw new AppError('invalid_request', 'Invalid Last-Event-ID');
      return await sessions.resume(parsed.sessionId, principal.id, parsed.position);
    }
    const sessionId = headers['x-sse-session-id'];
    if (typeof sessionId !== 'string') return null;
    if (!isSseSessionId(sessionId)) throw new AppError('invalid_request', 'Invalid session id');
    return await sessions.resume(sessionId, principal.id, null);
  }
}

function describe({ sessionId, subscriptions, createdAt, expiresAt }: SseSession): object {
  return {
    session_id: sessionId,
    contexts: [...subscriptions.values()].map(({ contextId, since, kinds }) => ({
      contextId,
      since: since.toString(),
      kinds,
    })),
    created_at: createdAt.getTime(),
    expires_at: expiresAt.getTime(),
  };
}

function nullWhenGone(error: unknown): null {
  if (error instanceof AppError && error.code === 'not_found') return null;
  throw error;
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  if (response.headersSent) return void response.destroy();
  const text = JSON.stringify(body);
  response.writeHead(status, {
    ...CORS_HEADERS,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
