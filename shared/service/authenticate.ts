import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Bus } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { Principal } from '#shared/domain/permissions.ts';
import type { Clock } from '#shared/util/clock.ts';
import { retryUntil } from './request-execution.ts';
import type { ServiceDeps } from './service.ts';
import type { TrustedProxies } from './trusted-proxies.ts';

/** Tells who makes an HTTP request; throws AppError `unauthorized` for credentials that are wrong. */
export type Authenticate = (request: IncomingMessage) => Principal | Promise<Principal>;

/** All that a request says about its caller. */
export interface Credentials {
  readonly token: string | null;
  /** The headers of the Calimero dialect that are there, by name. */
  readonly headers: Readonly<Record<string, string>>;
  readonly method: string;
  readonly path: string;
  readonly isLoopback: boolean;
  /** Address of the client, for rate limits. */
  readonly address: string;
  /** They were accepted before: limits and single use were paid then. */
  readonly isRecheck?: boolean;
}

export type VerifyReply =
  | { readonly principal: Principal }
  /** Why not. */
  | { readonly refusal: string; readonly retryAfter?: string };

/** Wallet headers, signed by a client key, and node headers, signed by the node's own. */
const CREDENTIAL_HEADERS = [
  'wallet_type',
  'signing_key',
  'signature',
  'challenge',
  'challenge_payload',
  'context_id',
  'x-signature',
  'x-timestamp',
] as const;

/** A key that is revoked stops working after this at the latest; a notice makes it sooner. */
const CACHE_MS = 500;
const CREDENTIAL_CHARS_MAX = 4_096;
const CACHE_ENTRIES_MAX = 10_000;
const REQUEST_MS = 5_000;

/** What is behind it is a secret: it is never echoed. */
export const TOKEN_PROTOCOL = 'cairn.token.';

interface Known {
  readonly principal: Principal;
  readonly untilMs: number;
}

/** What the last request of a connection said, and who it was. */
interface LastRequest {
  readonly url: string | undefined;
  readonly rawHeaders: readonly string[];
  readonly known: Known;
}

/**
 * Asks the `auth` service about the credentials of a request, remembering who is let in for half a
 * second, but not by headers that are good for one request only. The next request of a connection
 * is mostly the same in all that matters, and is told from the last one without looking closer.
 */
export function createAuthenticate({ bus, clock, proxies }: AuthenticateDeps): Authenticate {
  let cache = new Map<string, Known>();
  let lastOf = new WeakMap<Socket, LastRequest>();
  /** Those who ask for the same at once get the same answer. */
  const asking = new Map<string, Promise<Principal>>();
  let changes = 0;
  bus.subscribe(subjects.authChanged, () => {
    changes += 1;
    cache = new Map();
    lastOf = new WeakMap();
    asking.clear();
  });
  return (request) => {
    const last = lastOf.get(request.socket);
    if (last !== undefined && isFresh(last.known) && isSame(request, last)) {
      return last.known.principal;
    }
    const credentials = credentialsOf(request, proxies);
    const key = cacheKeyOf(credentials);
    const known = key === null ? undefined : cache.get(key);
    if (known === undefined || !isFresh(known)) return askOnce(credentials, key);
    const { socket, url, rawHeaders } = request;
    if (request.headers.upgrade === undefined) lastOf.set(socket, { url, rawHeaders, known });
    return known.principal;
  };

  function isFresh({ untilMs }: Known): boolean {
    return untilMs > clock.monotonicMs();
  }

  function askOnce(credentials: Credentials, key: string | null): Promise<Principal> {
    if (key === null) return ask(credentials, null);
    const { address, method, path } = credentials;
    const question = [key, address, method, path].join(' ');
    const asked = asking.get(question);
    if (asked !== undefined) return asked;
    const answer = ask(credentials, key);
    asking.set(question, answer);
    const forget = (): void => {
      if (asking.get(question) === answer) asking.delete(question);
    };
    answer.then(forget, forget);
    return answer;
  }

  async function ask(credentials: Credentials, key: string | null): Promise<Principal> {
    const changesBefore = changes;
    const principal = principalOf(await verifyCredentials(bus, clock, credentials));
    // An answer from before a change is not remembered beyond it.
    if (key !== null && changes === changesBefore) {
      if (cache.size >= CACHE_ENTRIES_MAX) cache.clear();
      cache.set(key, { principal, untilMs: clock.monotonicMs() + CACHE_MS });
    }
    return principal;
  }
}

/** True when nothing differs but the length of the body. */
function isSame({ url, rawHeaders }: IncomingMessage, last: LastRequest): boolean {
  if (url !== last.url || rawHeaders.length !== last.rawHeaders.length) return false;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name !== last.rawHeaders[i]) return false;
    const isLength = name?.length === 14 && name.toLowerCase() === 'content-length';
    if (!isLength && rawHeaders[i + 1] !== last.rawHeaders[i + 1]) return false;
  }
  return true;
}

type AuthenticateDeps = Pick<ServiceDeps, 'bus' | 'clock' | 'proxies'>;

/** Asks without remembering; again while `auth` is away, which it is when it restarts. */
async function verifyCredentials(
  bus: Bus,
  clock: Clock,
  credentials: Credentials,
): Promise<VerifyReply> {
  const question = Buffer.from(JSON.stringify(credentials));
  const deadlineMs = clock.nowMs() + REQUEST_MS;
  const reply = await retryUntil(clock, deadlineMs, () =>
    bus.request(subjects.authVerify, question, { deadlineMs }),
  );
  return JSON.parse(Buffer.from(reply).toString()) as VerifyReply;
}

/** Judges the credentials of a connection that is open already; null when they are refused. */
export async function recheck(
  bus: Bus,
  clock: Clock,
  credentials: Credentials,
): Promise<Principal | null> {
  const reply = await verifyCredentials(bus, clock, { ...credentials, isRecheck: true });
  return 'principal' in reply ? reply.principal : null;
}

/** Judges credentials that came later than the request. Throws AppError `unauthorized`. */
export async function verify(bus: Bus, clock: Clock, credentials: Credentials): Promise<Principal> {
  return principalOf(await verifyCredentials(bus, clock, credentials));
}

function principalOf(reply: VerifyReply): Principal {
  if ('principal' in reply) return reply.principal;
  const { refusal, retryAfter } = reply;
  if (retryAfter !== undefined) throw new AppError('rate_limited', refusal, { retryAfter });
  throw new AppError('unauthorized', refusal);
}

export function credentialsOf(request: IncomingMessage, proxies: TrustedProxies): Credentials {
  const headers: Record<string, string> = {};
  for (const name of CREDENTIAL_HEADERS) {
    const value = request.headers[name];
    if (typeof value === 'string' && value.length <= CREDENTIAL_CHARS_MAX) headers[name] = value;
  }
  return {
    token: bounded(bearerToken(request)),
    headers,
    method: request.method ?? 'GET',
    path: (request.url ?? '/').split('?', 1)[0] ?? '/',
    isLoopback: proxies.isLoopback(request),
    address: proxies.addressOf(request),
  };
}

/** Null for headers that are bound to one request. */
function cacheKeyOf({ token, headers, isLoopback }: Credentials): string | null {
  if (headers['challenge_payload'] !== undefined) return null;
  return Buffer.from(sha256(JSON.stringify([isLoopback, token, headers]))).toString('base64');
}

/** What is longer is no credential, and is not carried further. */
function bounded(token: string | null): string | null {
  return token !== null && token.length > CREDENTIAL_CHARS_MAX ? '' : token;
}

function bearerToken(request: IncomingMessage): string | null {
  const header = request.headers.authorization;
  if (header !== undefined) return /^Bearer +(\S+)$/i.exec(header)?.[1] ?? '';
  const query = request.url?.split('?')[1];
  const fromQuery = query === undefined ? null : new URLSearchParams(query).get('token');
  return fromQuery ?? subprotocolToken(request);
}

/** A browser can set no header of a WebSocket but the subprotocols: `cairn.v1, cairn.token.…`. */
function subprotocolToken({ headers }: IncomingMessage): string | null {
  const offered = headers['sec-websocket-protocol']?.split(',') ?? [];
  const found = offered.map((name) => name.trim()).find((name) => name.startsWith(TOKEN_PROTOCOL));
  return found === undefined ? null : found.slice(TOKEN_PROTOCOL.length);
}

/** Seconds after which a caller that was limited may try again. */
export function retryAfterOf(error: AppError): string {
  return error.details['retryAfter'] ?? '1';
}
