import type { IncomingMessage, ServerResponse } from 'node:http';
import { Router } from '@koa/router';
import type { z } from 'zod';
import Koa, { type Context, type Next, type ParameterizedContext } from 'koa';
import { AppError, ERROR_TABLE } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import type { Permission, Principal } from '#shared/domain/permissions.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import { createAuthenticate, retryAfterOf } from '../authenticate.ts';
import { authorize, authorizeSomewhere, demandCredentials } from '../authorize.ts';
import { CORS_HEADERS } from '../cors.ts';
import { BodyError } from '../json-body.ts';
import type { ServiceDeps } from '../service.ts';

/** What every handler finds on its context. */
interface DoorState {
  /** Anonymous on public routes, whatever the request carries. */
  principal: Principal;
}

export type DoorContext = ParameterizedContext<DoorState> & {
  readonly params: Readonly<Record<string, string | undefined>>;
};

/**
 * Who may call a route.
 *
 * - `public`: everybody.
 * - `credentials`: whoever has valid ones, whatever they allow.
 * - `{ permission }`: whoever has it everywhere.
 * - `{ permission, on: 'path' }`: whoever has it on the context that the path names as `:id`.
 * - `{ permission, on: 'some' }`: whoever has it on some context; the handler authorizes further.
 */
type RouteRule =
  | 'public'
  | 'credentials'
  | { readonly permission: Permission; readonly on?: 'path' | 'some' };

export interface Route {
  readonly method: 'get' | 'post' | 'put' | 'delete';
  /** With the door's prefix; `:id` and other parameters as in Koa. */
  readonly path: string;
  readonly rule: RouteRule;
  /** What it does, in a line. */
  readonly summary: string;
  /** What its query parameters must be, when it has any. */
  readonly query?: z.ZodObject;
  /** What its body must be, when it has a JSON one. */
  readonly body?: z.ZodType;
  /** True when it takes any bytes as its body. */
  readonly takesBytes?: boolean;
  /** True when it answers with bytes, also in ranges. */
  readonly givesBytes?: boolean;
  /** What it answers with, when that is JSON. */
  readonly answer?: z.ZodType;
  /** What each line is when `application/x-ndjson` is accepted, where it can be. */
  readonly line?: z.ZodType;
  readonly handle: (context: DoorContext) => Promise<void> | void;
}

/** Builds a request handler that answers errors in the dialect of the Admin API. */
export function createKoaDoor(
  deps: ServiceDeps,
  routes: readonly Route[],
): (request: IncomingMessage, response: ServerResponse) => void {
  const authenticate = createAuthenticate(deps);
  const app = new Koa<DoorState>();
  app.on('error', (error: unknown) => deps.log.warn({ err: error }, 'the answer was cut off'));
  const router = new Router<DoorState>();
  for (const { method, path, rule, handle } of routes) {
    router[method](path, async (context) => {
      if (Object.values(context.params).some((value) => value?.includes('\0'))) {
        throw new AppError('invalid_request', 'Invalid URL: it contains U+0000');
      }
      if (rule !== 'public') {
        const principal = await authenticate(context.req);
        demand(principal, rule, context.params['id']);
        context.state.principal = principal;
      }
      await handle(context);
    });
  }
  app.use(cors);
  app.use(answerErrors(deps));
  app.use(router.routes());
  app.use(refuseMethod(router));
  const handle = app.callback();
  return (request, response) => void handle(request, response);
}

function demand(
  principal: Principal,
  rule: Exclude<RouteRule, 'public'>,
  id: string | undefined,
): void {
  if (rule === 'credentials') return demandCredentials(principal);
  if (rule.on === 'path') return authorize(principal, rule.permission, parseContextIdOf(id));
  if (rule.on === undefined) return authorize(principal, rule.permission);
  authorizeSomewhere(principal, rule.permission);
}

/** The context that a path names. Throws AppError `invalid_request`. */
export function parseContextIdOf(text: string | undefined): ContextId {
  try {
    return parseContextId(text);
  } catch {
    throw new AppError('invalid_request', 'Invalid context id');
  }
}

async function cors(context: Context, next: Next): Promise<void> {
  context.set(CORS_HEADERS);
  if (context.method === 'OPTIONS') context.status = 204;
  else await next();
}

/**
 * Refusals of a body or of the caller are plain text; every other error is `{"error": "…"}`, as
 * the dialect has it. What is not an AppError is logged and answered without its text.
 */
function answerErrors(deps: ServiceDeps) {
  return async (context: Context, next: Next): Promise<void> => {
    try {
      await next();
    } catch (error) {
      if (error instanceof BodyError) {
        context.status = error.status;
        context.body = error.message;
        return;
      }
      const isKnown = error instanceof AppError;
      if (!isKnown) deps.log.error({ err: error, path: context.path }, 'an admin request failed');
      const known = isKnown ? error : new AppError('internal', 'internal error');
      context.status = ERROR_TABLE[known.code].status;
      if (known.code === 'payload_too_large') context.set('connection', 'close');
      if (known.code === 'rate_limited') context.set('retry-after', retryAfterOf(known));
      context.body = known.code === 'unauthorized' ? known.message : { error: known.message };
    }
  };
}

/** An unknown route stays 404; a known one with another verb is 405. Both are empty. */
function refuseMethod(router: Router<DoorState>) {
  return (context: Context): void => {
    const isKnown = router
      .match(context.path, context.method)
      .path.some(({ methods }) => methods.length > 0);
    context.status = isKnown ? 405 : 404;
    context.body = '';
  };
}
