import { answers } from '#shared/protocol/admin-answers.ts';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { readFile } from 'node:fs/promises';
import { subjects } from '#shared/bus/subjects.ts';
import { openRpcDocument } from '#shared/protocol/open-rpc.ts';
import { openApiDocument, pathsOf } from '#shared/service/koa/openapi.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { createKoaDoor, type DoorContext, type Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import type { AdminConfig } from './config.ts';
import { aliasRoutes } from './routes/aliases.ts';
import { applicationRoutes } from './routes/applications.ts';
import { auditRoutes } from './routes/audit.ts';
import { blobRoutes } from './routes/blobs.ts';
import { capabilityRoutes } from './routes/capabilities.ts';
import { clusterRoutes } from './routes/cluster.ts';
import { contextRoutes } from './routes/contexts.ts';
import { historyRoutes } from './routes/history.ts';
import { memberRoutes } from './routes/members.ts';
import { proofRoutes } from './routes/proofs.ts';

const PREFIX = '/admin-api';
/** What older tools reach below `/dev`, by the node's own key: the same, under another path. */
const DEV =
  /^\/(install-(dev-)?application|applications(\/:id)?|contexts(\/.+)?|identity\/context)$/;
const DOCUMENT_MS = 5_000;
const TRY_PAGE = new URL('try.html', import.meta.url);
const TRY_POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
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
    ...capabilityRoutes(deps, config),
    ...contextRoutes(deps, config),
    ...historyRoutes(deps, config),
    ...auditRoutes(deps, config),
    ...proofRoutes(deps, config),
    ...blobRoutes(deps, config),
    ...aliasRoutes(deps, config),
    ...clusterRoutes(deps),
    ...CHAIN_ONLY.map(([method, path]): Route => {
      const rule = { permission: 'context_read', on: 'path' } as const;
      const summary = 'Needs a blockchain, which Cairn does not use.';
      return { method, path, rule, summary, handle: notImplemented };
    }),
    {
      method: 'get',
      path: '/peers',
      summary: 'Counts the peers of the node.',
      answer: answers.peers,
      rule: { permission: 'application_read' },
      handle: peers,
    },
  ];
  const dev = routes
    .filter(({ path }) => DEV.test(path))
    .map((route): Route => ({ ...route, path: `/dev${route.path}` }));
  const table: Route[] = [
    {
      method: 'get' as const,
      path: '/health',
      summary: 'Tells that the node answers.',
      answer: answers.status,
      rule: 'public' as const,
      handle: alive,
    },
    {
      method: 'get' as const,
      path: '/certificate',
      summary: 'There is none: TLS ends at a proxy.',
      rule: 'public' as const,
      handle: noCertificate,
    },
    {
      method: 'get' as const,
      path: '/is-authed',
      summary: 'Tells whether the caller has valid credentials.',
      answer: answers.status,
      rule: 'credentials' as const,
      handle: alive,
    },
    ...routes,
    ...dev,
  ].map((route): Route => ({ ...route, path: `${PREFIX}${route.path}` }));
  return [...table, ...documentRoutes(deps, table)];
}

/** The API's description, of all services, and a page to try it with. */
function documentRoutes({ bus, clock }: ServiceDeps, table: readonly Route[]): readonly Route[] {
  // Made when first asked for: schemas of every route take a while.
  let openRpc: ReturnType<typeof openRpcDocument> | null = null;
  let paths: ReturnType<typeof pathsOf> | null = null;
  return [
    {
      method: 'get',
      path: `${PREFIX}/openapi.json`,
      rule: 'public',
      summary: 'This document.',
      handle: async (context) => {
        paths ??= pathsOf(table);
        const deadlineMs = clock.nowMs() + DOCUMENT_MS;
        const reply = await bus.request(subjects.authOpenApi, new Uint8Array(), { deadlineMs });
        const auth = JSON.parse(Buffer.from(reply).toString()) as Record<string, unknown>;
        context.body = openApiDocument({ ...paths, ...auth });
      },
    },
    {
      method: 'get',
      path: `${PREFIX}/openrpc.json`,
      rule: 'public',
      summary: 'The description of `/jsonrpc` (OpenRPC).',
      handle: (context) => {
        openRpc ??= openRpcDocument();
        context.body = openRpc;
      },
    },
    {
      method: 'get',
      path: `${PREFIX}/try`,
      rule: 'public',
      summary: 'A page to try the API with.',
      handle: async (context) => {
        context.type = 'text/html';
        context.set('content-security-policy', TRY_POLICY);
        context.body = await readFile(TRY_PAGE, 'utf8');
      },
    },
  ];
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
