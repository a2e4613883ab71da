import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { adminConfigSchema } from '../../services/admin/config.ts';
import { adminRoutes } from '../../services/admin/http.ts';
import { authRoutes, type AuthRoutesOptions } from '../../services/auth/http.ts';
import { eventually } from '../support/eventually.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { ClientKey, nearWallet, postOpen, requestChallenge } from '../support/wallets.ts';
import { SETUP_TOKEN } from '../support/node.ts';
import { WsClient } from '../support/ws-client.ts';

/** Every route of every door with every kind of caller: a new route is here by being a route. */

/** Enough to build the tables: no handler is called on these. */
const nothing = {} as ServiceDeps;
const routes: readonly Route[] = [
  ...authRoutes({ deps: nothing } as AuthRoutesOptions),
  ...adminRoutes(nothing, adminConfigSchema.parse({ secretKey: new Uint8Array(32) })),
];
/** A key that is bound to a context has these everywhere. */
const EVERYWHERE = new Set(['application_read', 'blob_read']);
/** And these in its context. */
const IN_ITS_CONTEXT = new Set([
  ...EVERYWHERE,
  'context_read',
  'identity_read',
  'token_create',
  'context_query',
]);

let node: TestNode;
let mine: string;
let other: string;
let callers: Readonly<Record<string, Record<string, string>>>;

beforeAll(async () => {
  node = await startTestNode({
    auth: { verificationsPerAddress: 100_000, verificationsTotal: 100_000 },
  });
  const { client } = node;
  mine = await client.open('kv-store');
  other = await client.open('kv-store');
  const wallet = nearWallet();
  const login = async (seed: number, contextId: string | null) => {
    const key = await ClientKey.make(seed);
    const challenge = await requestChallenge(client, contextId);
    const body = await wallet.sign(challenge, key.signingKey);
    const [status, text] = await postOpen(client, '/admin-api/add-client-key', {
      ...body,
      setupToken: SETUP_TOKEN,
    });
    if (status !== 200) throw new Error(text);
    return key;
  };
  const bound = await login(31, mine);
  const revoked = await login(32, null);
  const stranger = await ClientKey.make(33);
  await client.admin('/admin-api/identity/keys/revoke', { key: revoked.signingKey });
  const { identities } = await client.admin<{ identities: string[] }>(
    `/admin-api/contexts/${mine}/identities`,
  );
  const tokens = await client.admin<{ access_token: string; refresh_token: string }>(
    '/admin-api/generate-jwt-token',
    { contextId: mine, executorPublicKey: identities[0] },
  );
  await using brief = await startTestNode({
    database: node.database,
    nodeName: 'brief',
    auth: { accessTokenMs: 1_000 },
  });
  const { access_token: expired } = await brief.client.admin<{ access_token: string }>(
    '/admin-api/generate-jwt-token',
    { contextId: mine, executorPublicKey: identities[0] },
  );
  const list = () =>
    fetch(new URL(`/admin-api/contexts/${mine}`, node.url), {
      headers: { authorization: `Bearer ${expired}` },
    });
  await eventually(async () => (await list()).status === 401);
  callers = {
    'an expired token': { authorization: `Bearer ${expired}` },
    nobody: {},
    'a wrong token': { authorization: 'Bearer wrong' },
    'an empty token': { authorization: 'Bearer ' },
    'a refresh token': { authorization: `Bearer ${tokens.refresh_token}` },
    'a stranger’s key': await stranger.headers('x'),
    'a revoked key': await revoked.headers('x'),
    'a key of the context': await bound.headers('x'),
    'a token of the context': { authorization: `Bearer ${tokens.access_token}` },
    'the operator': { authorization: `Bearer ${client.token}` },
  };
});
afterAll(() => node[Symbol.asyncDispose]());

async function call(
  { method, path }: Pick<Route, 'method' | 'path'>,
  caller: string,
  contextId = mine,
): Promise<number> {
  const filled = path.replace(':id', contextId).replaceAll(/:\w+/g, 'x');
  const hasBody = method === 'post' || method === 'put';
  const response = await fetch(new URL(filled, node.url), {
    method: method.toUpperCase(),
    headers: { 'content-type': 'application/json', ...callers[caller] },
    ...(hasBody ? { body: '{"nothing":"of use"}' } : {}),
  });
  await response.arrayBuffer();
  return response.status;
}

const REFUSED = [
  'an expired token',
  'a wrong token',
  'an empty token',
  'a refresh token',
  'a stranger’s key',
  'a revoked key',
];

describe.each(routes.map((route) => [`${route.method} ${route.path}`, route] as const))(
  '%s',
  (_name, route) => {
    const { rule } = route;

    test('lets in who may, and nobody else', async () => {
      const statuses = async (names: readonly string[]) =>
        await Promise.all(names.map((name) => call(route, name)));
      if (rule === 'public') {
        for (const status of await statuses(['nobody', ...REFUSED])) {
          expect([401, 403]).not.toContain(status);
          expect(status).toBeLessThan(500);
        }
        return;
      }
      expect(await statuses(['nobody', ...REFUSED])).toEqual(['nobody', ...REFUSED].map(() => 401));

      if (rule === 'credentials') {
        const valid = ['a key of the context', 'a token of the context', 'the operator'];
        expect(await statuses(valid)).toEqual(valid.map(() => 200));
        return;
      }
      const isItsContext = rule.on !== undefined || route.path.includes('/contexts/:id');
      const mayBound = (isItsContext ? IN_ITS_CONTEXT : EVERYWHERE).has(rule.permission);
      expect((await call(route, 'a key of the context')) === 403).toBe(!mayBound);
      if (rule.on === 'path' && !EVERYWHERE.has(rule.permission)) {
        expect(await call(route, 'a key of the context', other)).toBe(403);
        expect(await call(route, 'a token of the context', other)).toBe(403);
      }
    });

    if (rule === 'public' || route.method === 'delete') return;
    test('lets the operator in', async () => {
      const status = await call(route, 'the operator');
      expect([401, 403]).not.toContain(status);
      expect(status === 501 || status < 500).toBe(true);
    });
  },
);

test('both other doors refuse the same callers', async () => {
  const route = { method: 'post', path: '/jsonrpc' } as const;
  for (const caller of ['nobody', ...REFUSED]) {
    expect(await call(route, caller)).toBe(401);
    const token = callers[caller]?.['authorization']?.replace('Bearer ', '') ?? '';
    if (token !== '') {
      await expect(WsClient.connect(node.url, token)).rejects.toThrow('401');
      continue;
    }
    // Who sends no token may still do so, and nothing else.
    await using ws = await WsClient.connect(node.url, null);
    expect((await ws.subscribe([])).error?.type).toBe('Unauthorized');
    await eventually(() => ws.closed?.code === 4401);
  }
  expect(await call(route, 'the operator')).toBe(422);
});
