import type { IncomingMessage } from 'node:http';
import type { Bus } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { Clock } from '#shared/util/clock.ts';

/** Who makes a request, as the permission check sees it. */
export interface Principal {
  readonly id: string;
  readonly kind: 'admin-token' | 'open';
}

/** Tells who makes an HTTP request; throws AppError `unauthorized` when nobody may. */
export type Authenticate = (request: IncomingMessage) => Promise<Principal>;

export interface VerifyRequest {
  readonly token: string | null;
  readonly isLoopback: boolean;
}

export interface VerifyReply {
  readonly principal: Principal | null;
}

const CACHE_MS = 1_000;
const CACHE_ENTRIES_MAX = 10_000;
const REQUEST_MS = 5_000;

/**
 * Asks the `auth` service about the bearer token of a request (`Authorization: Bearer …`, or
 * `?token=` where a browser cannot set headers), remembering each answer for one second.
 */
export function createAuthenticate(bus: Bus, clock: Clock): Authenticate {
  const cache = new Map<string, { principal: Principal | null; untilMs: number }>();
  return async (request) => {
    const verify = { token: bearerToken(request), isLoopback: isLoopback(request) };
    const key = `${verify.isLoopback ? 'l' : 'r'}${verify.token ?? ''}`;
    const known = cache.get(key);
    let principal: Principal | null;
    if (known !== undefined && known.untilMs > clock.monotonicMs()) principal = known.principal;
    else {
      principal = await ask(bus, clock, verify);
      if (cache.size >= CACHE_ENTRIES_MAX) cache.clear();
      cache.set(key, { principal, untilMs: clock.monotonicMs() + CACHE_MS });
    }
    if (principal === null) {
      throw new AppError(
        'unauthorized',
        'a valid token is needed: send "Authorization: Bearer <token>", or ?token=<token>',
      );
    }
    return principal;
  };
}

async function ask(bus: Bus, clock: Clock, verify: VerifyRequest): Promise<Principal | null> {
  const reply = await bus.request(subjects.authVerify, Buffer.from(JSON.stringify(verify)), {
    deadlineMs: clock.nowMs() + REQUEST_MS,
  });
  return (JSON.parse(Buffer.from(reply).toString()) as VerifyReply).principal;
}

function bearerToken(request: IncomingMessage): string | null {
  const header = request.headers.authorization;
  if (header !== undefined) return /^Bearer +(\S+)$/i.exec(header)?.[1] ?? null;
  const query = request.url?.split('?')[1];
  return query === undefined ? null : new URLSearchParams(query).get('token');
}

const PROXY_HEADERS = ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via'];

/**
 * True for a caller on this machine that came neither through a proxy, nor from a web page of
 * another site, nor by a foreign name that was pointed at this machine (DNS rebinding).
 */
export function isLoopback(request: IncomingMessage): boolean {
  const address = request.socket.remoteAddress ?? '';
  const isLocal = address === '::1' || /^(::ffff:)?127\./.test(address);
  const { origin, host } = request.headers;
  if (!isLocal || PROXY_HEADERS.some((name) => name in request.headers)) return false;
  return (
    isLocalName(`http://${host?.includes('@') ? '' : (host ?? '')}`) &&
    (origin === undefined || isLocalName(origin))
  );
}

function isLocalName(url: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(URL.parse(url)?.hostname ?? '');
}
