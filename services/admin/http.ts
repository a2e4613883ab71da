import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError } from '#shared/domain/app-error.ts';
import { createKoaDoor, type DoorContext, type Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import type { AdminConfig } from './config.ts';
import { aliasRoutes } from './routes/aliases.ts';
import { applicationRoutes } from './routes/applications.ts';
import { blobRoutes } from './routes/blobs.ts';
import { contextRoutes } from './routes/contexts.ts';
import { memberRoutes } from './routes/members.ts';

const PREFIX = '/admin-api';
/** What older tools reach below `/dev`, by the node's own key: the same, under another path. */
const DEV =
  /^\/(install-(dev-)?application|applications(\/:id)?|contexts(\/.+)?|identity\/context)$/;
const CHAIN_ONLY = [
  ['post', '/contexts/:id/proposals'],
  ['get', '/contexts/:id/proposals/count'],
  ['get', '/contexts/:id/proposals/:proposal'],
  ['get', '/contexts/:id/proposals/:proposal/approvals/count'],
  ['get', '/contexts/:id/proposals/:proposal/approvals/users'],
  ['post', '/contexts/:id/proposals/get-context-value'],
  ['post', '/contexts/:id/proposals/context-storage-entries'],
  ['get', '/contexts/:id/proxy-contract'],
] as const;

/** Every route of the admin service, with who may call it. */
export function adminRoutes(deps: ServiceDeps, config: AdminConfig): readonly Route[] {
  const routes: Route[] = [
    ...applicationRoutes(deps, config),
    ...memberRoutes(deps, config),
    ...contextRoutes(deps, config),
    ...blobRoutes(deps, config),
    ...aliasRoutes(deps, config),
    ...CHAIN_ONLY.map(([method, path]): Route => {
      const rule = { permission: 'context_read', on: 'path' } as const;
      return { method, path, rule, handle: notImplemented };
    }),
    { method: 'get', path: '/peers', rule: { permission: 'application_read' }, handle: peers },
  ];
  const dev = routes
    .filter(({ path }) => DEV.test(path))
    .map((route): Route => ({ ...route, path: `/dev${route.path}` }));
  return [
    { method: 'get' as const, path: '/health', rule: 'public' as const, handle: alive },
    {
      method: 'get' as const,
      path: '/certificate',
      rule: 'public' as const,
      handle: noCertificate,
    },
    {
      method: 'get' as const,
      path: '/is-authed',
      rule: { permission: 'application_read' as const },
      handle: alive,
    },
    ...routes,
    ...dev,
  ].map((route): Route => ({ ...route, path: `${PREFIX}${route.path}` }));
}

/** Builds the request handler of `/admin-api`. */
export function createAdminHandler(
  deps: ServiceDeps,
  config: AdminConfig,
): (request: IncomingMessage, response: ServerResponse) => void {
  return createKoaDoor(deps, adminRoutes(deps, config));
}

function alive(context: DoorContext): void {
  context.body = { data: { status: 'alive' } };
}

/** No peers are dialled yet: the dialect's answer, without a wrapper. */
function peers(context: DoorContext): void {
  context.body = { count: 0 };
}

/** TLS ends at a proxy before the node. */
function noCertificate(context: DoorContext): void {
  context.status = 404;
  context.body = 'Certificate not found';
}

function notImplemented(): void {
  throw new AppError('not_implemented', 'proposals need a blockchain, which Cairn does not use');
}
