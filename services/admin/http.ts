import type { IncomingMessage, ServerResponse } from 'node:http';
import Koa, { type Context, type Next } from 'koa';
import { Router } from '@koa/router';
import { AppError, ERROR_TABLE } from '#shared/domain/app-error.ts';
import { createAuthenticate, type Principal } from '#shared/service/authenticate.ts';
import { CORS_HEADERS } from '#shared/service/cors.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import type { AdminConfig } from './config.ts';
import { BodyError } from './json-body.ts';
import { addApplicationRoutes } from './routes/applications.ts';
import { addBlobRoutes } from './routes/blobs.ts';
import { addContextRoutes } from './routes/contexts.ts';

/** What every route finds on its context. */
interface AdminState {
  principal: Principal;
}

export type AdminRouter = Router<AdminState>;

/** Builds the request handler of `/admin-api`. */
export function createAdminHandler(
  deps: ServiceDeps,
  config: AdminConfig,
): (request: IncomingMessage, response: ServerResponse) => void {
  const authenticate = createAuthenticate(deps.bus, deps.clock);
  const app = new Koa<AdminState>();
  app.on('error', (error: unknown) => deps.log.warn({ err: error }, 'the answer was cut off'));
  const open = new Router<AdminState>({ prefix: '/admin-api' });
  open.get('/health', alive);
  const guarded: AdminRouter = new Router<AdminState>({ prefix: '/admin-api' });
  guarded.use(async (context, next) => {
    context.state.principal = await authenticate(context.req);
    await next();
  });
  guarded.get('/is-authed', alive);
  addApplicationRoutes(guarded, deps, config);
  addContextRoutes(guarded, deps, config);
  addBlobRoutes(guarded, deps, config);

  app.use(cors);
  app.use(answerErrors(deps));
  app.use(open.routes());
  app.use(guarded.routes());
  app.use(refuseMethod([open, guarded]));
  const handle = app.callback();
  return (request, response) => void handle(request, response);
}

function alive(context: Context): void {
  context.body = { data: { status: 'alive' } };
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
      context.body = known.code === 'unauthorized' ? known.message : { error: known.message };
    }
  };
}

/** An unknown route stays 404; a known one with another verb is 405. Both are empty. */
function refuseMethod(routers: readonly AdminRouter[]) {
  return (context: Context): void => {
    const isKnown = routers.some((router) =>
      router.match(context.path, context.method).path.some(({ methods }) => methods.length > 0),
    );
    context.status = isKnown ? 405 : 404;
    context.body = '';
  };
}
