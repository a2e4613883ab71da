import fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answers } from '#shared/protocol/admin-answers.ts';
import { openTestDatabase } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { ClientKey, ethereumWallet, requestChallenge } from '../support/wallets.ts';

const REQUESTS = 5_000;
const AT_ONCE = 20;

interface Schema {
  readonly type?: string;
  readonly anyOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly prefixItems?: readonly Schema[];
  readonly enum?: readonly string[];
  readonly pattern?: string;
}
interface Operation {
  readonly summary: string;
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: 'path' | 'query' | 'header';
    readonly required: boolean;
    readonly schema: Schema;
  }[];
  readonly requestBody?: {
    readonly content: Readonly<Record<string, { readonly schema: Schema }>>;
  };
  readonly 'x-permission'?: string;
  readonly responses: Readonly<
    Record<string, { readonly headers?: object; readonly content?: object }>
  >;
  readonly security: readonly object[];
}
interface OpenApi {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly securitySchemes: Readonly<Record<string, unknown>> };
}

let node: TestNode;
let document: OpenApi;
let contextId: string;
let stranger: Record<string, string>;

beforeAll(async () => {
  node = await startTestNode({
    auth: { verificationsPerAddress: 1_000_000, verificationsTotal: 1_000_000 },
    admin: { downloadMs: 200 },
  });
  contextId = await node.client.open('kv-store');
  document = (await (await fetch(new URL('/admin-api/openapi.json', node.url))).json()) as OpenApi;
  stranger = await (await ClientKey.make(41)).headers('x');
});
afterAll(() => node[Symbol.asyncDispose]());

test('the description covers the routes of both services', () => {
  expect(document.openapi).toBe('3.1.0');
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));
  expect(operations.length).toBeGreaterThan(60);
  for (const { summary } of operations) expect(summary).toMatch(/\.$/);
  for (const path of [
    '/admin-api/contexts/{id}',
    '/admin-api/add-client-key',
    '/.well-known/jwks.json',
  ]) {
    expect(document.paths).toHaveProperty([path]);
  }
});

const operation = (path: string, method: string) => document.paths[path]?.[method];

test('the description has what a stranger needs to log in', () => {
  const login = operation('/admin-api/add-client-key', 'post');
  const loginBody = login?.requestBody?.content['application/json']?.schema;
  expect(loginBody?.properties?.['walletMetadata']?.required).toEqual(['wallet', 'verifyingKey']);
  const schemes = Object.keys(document.components.securitySchemes);
  for (const need of operation('/admin-api/contexts', 'get')?.security ?? []) {
    expect(schemes).toEqual(expect.arrayContaining(Object.keys(need)));
  }
  const withoutPermission = Object.entries(document.paths).filter(([, methods]) =>
    Object.values(methods).some(
      ({ security, 'x-permission': permission }) => security.length > 0 && permission === undefined,
    ),
  );
  expect(withoutPermission.map(([path]) => path)).toEqual(['/admin-api/is-authed']);
});

test('the description has what blobs are sent and answered with', async () => {
  const { client } = node;
  const put = operation('/admin-api/blobs', 'put');
  expect(Object.keys(put?.requestBody?.content ?? {})).toEqual(['application/octet-stream']);
  const stored = await client.fetch('/admin-api/blobs', { method: 'PUT', body: 'some bytes' });
  const { data } = answers.blob.parse(await stored.json());
  const described = operation('/admin-api/blobs/{id}', 'get')?.responses ?? {};
  const path = `/admin-api/blobs/${data.blobId}`;
  const etag = (await client.fetch(path, { method: 'HEAD' })).headers.get('etag') ?? '';
  expect(operation('/admin-api/blobs/{id}', 'head')).toBeDefined();
  for (const [name, value, status] of [
    ['accept', '*/*', 200],
    ['range', 'bytes=0-3', 206],
    ['if-none-match', etag, 304],
    ['range', 'bytes=100-', 416],
  ] as const) {
    // `fetch` would ask for an answer that no cache may have touched.
    const headersSent = { 'cache-control': 'max-age=0', [name]: value };
    const answer = await client.fetch(path, { headers: headersSent });
    expect(answer.status).toBe(status);
    const { headers = {} } = described[status] ?? {};
    expect(described[status]).toBeDefined();
    for (const header of Object.keys(headers)) expect(answer.headers.get(header)).not.toBeNull();
    await answer.arrayBuffer();
  }
});

test('refusals in plain text are described as such', async () => {
  const responses = document.paths['/admin-api/contexts']?.['post']?.responses ?? {};
  const headers = { 'content-type': 'application/json' };
  for (const [status, init] of [
    [401, { headers: { authorization: 'Bearer x' } }],
    [400, { headers, body: '{' }],
    [415, { headers: { 'content-type': 'text/html' }, body: '{}' }],
    [422, { headers, body: '{}' }],
  ] as const) {
    const answer = await node.client.fetch('/admin-api/contexts', { method: 'POST', ...init });
    expect(answer.status).toBe(status);
    const type = answer.headers.get('content-type')?.split(';')[0] ?? '';
    expect(responses[status]?.content).toHaveProperty([type]);
    await answer.text();
  }
});

describe('real answers are what the description says', () => {
  test('of the Admin API', async () => {
    const { client } = node;
    const applicationId = await client.install('only-peers');
    const seen: (readonly [name: keyof typeof answers, answer: unknown])[] = [];
    const look = async (name: keyof typeof answers, path: string, body?: unknown) => {
      const response = await (body === undefined ? client.fetch(path) : client.post(path, body));
      const answer: unknown = await response.json();
      expect(response.status, JSON.stringify(answer)).toBe(200);
      seen.push([name, answer]);
      return answer as { data: never };
    };
    const base = `/admin-api/contexts/${contextId}`;

    await look('status', '/admin-api/health');
    await look('applications', '/admin-api/applications');
    await look('application', `/admin-api/applications/${applicationId}`);
    await look('applicationOrNull', `/admin-api/dev/application/${applicationId}`);
    await look('applicationOrNull', `/admin-api/dev/application/${contextId}`);
    await look('membership', '/admin-api/contexts', { applicationId });
    await look('contexts', '/admin-api/contexts');
    await look('context', base);
    await look('storage', `${base}/storage`);
    await look('users', `${base}/users`);
    await look('clientKeys', `${base}/client-keys`);
    const { data: owned } = await look('identities', `${base}/identities-owned`);
    const inviterId = (owned as { identities: string[] }).identities[0];
    const { data: made } = await look('identity', '/admin-api/identity/context', {});
    const inviteeId = (made as { publicKey: string }).publicKey;
    const { data: invitationPayload } = await look('invitation', '/admin-api/contexts/invite', {
      contextId,
      inviterId,
      inviteeId,
    });
    await look('joined', '/admin-api/contexts/join', { invitationPayload });
    await look('joined', '/admin-api/contexts/join', { invitationPayload });
    await look('bareNull', `${base}/capabilities/grant`, {
      capabilities: [],
      signer_id: inviterId,
    });
    await look('capabilities', `${base}/capabilities`);
    await look('nothing', '/admin-api/alias/create/context', { alias: 'a', contextId });
    await look('aliasValue', '/admin-api/alias/lookup/context/a', {});
    await look('aliases', '/admin-api/alias/list/context');
    await look('blobs', '/admin-api/blobs');
    await look('job', `${base}/verify`, {});
    const { data: begun } = await look('job', `${base}/rehearse`, { applicationId });
    await look('job', `${base}/rehearse/${(begun as { job: string }).job}`);
    await look('proof', `${base}/proof?sequence=1`);
    await look('consistencyProof', `${base}/proof/consistency?from=1`);
    await look('nodeKey', '/admin-api/node-key');
    await look('peers', '/admin-api/peers');
    await look('challenge', '/admin-api/request-challenge', {});
    await look('did', '/admin-api/did');
    await look('history', '/admin-api/identity/history');
    await look('jwks', '/.well-known/jwks.json');
    await look('tokens', '/admin-api/generate-jwt-token', {
      contextId,
      executorPublicKey: inviterId,
    });
    const wallet = ethereumWallet();
    const { signingKey } = await ClientKey.make(42);
    const body = await wallet.sign(await requestChallenge(client), signingKey);
    await look('stored', '/admin-api/root-key', body);
    await look('revoked', '/admin-api/identity/keys/revoke', { key: wallet.verifyingKey });
    await look('reloaded', '/admin-api/access/reload', {});

    for (const [name, answer] of seen) {
      const { error } = answers[name].safeParse(answer);
      expect(error?.issues ?? [], name).toEqual([]);
    }
  });

  test('of JSON-RPC', async () => {
    const described = (await (
      await fetch(new URL('/admin-api/openrpc.json', node.url))
    ).json()) as {
      methods: {
        name: string;
        'x-permission': string;
        params: { name: string; required: boolean }[];
      }[];
    };

    expect(described.methods.map(({ name }) => name)).toEqual([
      'query',
      'mutate',
      'execute',
      'play',
    ]);
    expect(described.methods.map((method) => method['x-permission'])).toEqual([
      'context_query',
      'context_mutate',
      'context_mutate',
      'context_play',
    ]);
    const required = described.methods[0]?.params.filter((param) => param.required);
    expect(required?.map(({ name }) => name)).toEqual(['contextId', 'method', 'argsJson']);
    for (const { name, params } of described.methods) {
      const all = Object.fromEntries(params.map((param) => [param.name, null]));
      const asked =
        name === 'play' ? { engine: 'javascript', script: '0' } : { method: 'len', argsJson: {} };
      const given = { ...all, contextId, ...asked };
      expect((await node.client.rpc(name, given)).result?.output).toBe(0);
    }
  });
});

/** Values of a schema, and now and then something else. */
function valueOf(schema: Schema): fc.Arbitrary<unknown> {
  const { anyOf, type, properties = {}, required = [], items, prefixItems } = schema;
  const text = fc.oneof(
    fc.constantFrom(contextId, '', '1'.repeat(32), 'http://127.0.0.1:1/', '/etc/passwd', '\0'),
    fc.string({ unit: 'binary' }),
  );
  const fitting: fc.Arbitrary<unknown> =
    schema.enum !== undefined
      ? fc.constantFrom(...schema.enum)
      : anyOf !== undefined
        ? fc.oneof(...anyOf.map(valueOf))
        : prefixItems !== undefined
          ? fc.tuple(...prefixItems.map(valueOf))
          : type === 'object'
            ? fc.record(
                Object.fromEntries(
                  Object.entries(properties).map(([name, property]) => [name, valueOf(property)]),
                ),
                { requiredKeys: [...required] },
              )
            : type === 'array'
              ? fc.array(items === undefined ? fc.jsonValue() : valueOf(items), { maxLength: 5 })
              : type === 'integer' || type === 'number'
                ? fc.oneof(fc.integer(), fc.double(), fc.maxSafeInteger())
                : type === 'null'
                  ? fc.constant(null)
                  : type === 'boolean'
                    ? fc.boolean()
                    : text;
  return fc.oneof({ weight: 20, arbitrary: fitting }, { weight: 1, arbitrary: fc.jsonValue() });
}

/** Some of the parameters, mostly as their schemas have them, and now and then one twice. */
function queryOf(parameters: NonNullable<Operation['parameters']>): fc.Arbitrary<string> {
  const values = (name: string, schema: Schema) =>
    fc
      .oneof(
        { weight: 4, arbitrary: fittingText(schema) },
        { weight: 1, arbitrary: fc.string({ unit: 'binary' }) },
      )
      .map((value) => `${name}=${encodeURIComponent(value.toWellFormed())}`);
  const some = parameters.map(({ name, required, schema }) =>
    fc.array(values(name, schema), { minLength: required ? 1 : 0, maxLength: 1 }),
  );
  const stray = fc.array(fc.constantFrom('token=x', 'limit=1&limit=2', 'at', '%'), {
    maxLength: 1,
  });
  return fc
    .tuple(
      ...some,
      fc.oneof({ weight: 9, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: stray }),
    )
    .map((all) => all.flat().join('&'))
    .map((text) => (text === '' ? '' : `?${text}`));
}

function fittingText({ pattern, enum: names }: Schema): fc.Arbitrary<string> {
  if (names !== undefined) return fc.constantFrom(...names);
  return pattern === undefined ? fc.string() : fc.stringMatching(new RegExp(pattern));
}

function requestOf(): fc.Arbitrary<{ method: string; path: string; body: string | undefined }> {
  const call: Schema = {
    type: 'object',
    required: ['contextId', 'method', 'argsJson'],
    properties: {
      contextId: { type: 'string' },
      method: { enum: ['set', 'get', 'len', 'nope', 'memory'] },
      argsJson: {},
      executorPublicKey: { type: 'string' },
      requestId: { type: 'string' },
      engine: { enum: ['javascript', 'rhai', 'nope'] },
      script: { type: 'string' },
    },
  };
  const rpc = fc
    .tuple(
      fc.constantFrom('query', 'mutate', 'execute', 'play', 'fly'),
      valueOf(call),
      fc.jsonValue(),
    )
    .map(([method, params, id]) => ({
      method: 'POST',
      path: '/jsonrpc',
      body: JSON.stringify({ jsonrpc: '2.0', id, method, params }),
    }));
  const admin = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters: all = [], requestBody }]) => {
      const parameters = all.filter((parameter) => parameter.in === 'path');
      const query = queryOf(all.filter((parameter) => parameter.in === 'query'));
      const names = fc.array(
        fc.oneof(fc.constantFrom(contextId, 'x', '..', '%', '\0', '1'.repeat(32)), fc.string()),
        { minLength: parameters.length, maxLength: parameters.length },
      );
      const schema = requestBody?.content['application/json']?.schema;
      const body =
        schema === undefined
          ? fc.constant(undefined)
          : fc.oneof(
              { weight: 9, arbitrary: valueOf(schema).map((value) => JSON.stringify(value)) },
              { weight: 1, arbitrary: fc.string() },
            );
      return fc.tuple(names, body, query).map(([values, text, search]) => ({
        method: method.toUpperCase(),
        path: `${parameters.reduce(
          (filled, { name }, i) => filled.replace(`{${name}}`, encodeURIComponent(values[i] ?? '')),
          path,
        )}${search}`,
        body: text,
      }));
    }),
  );
  return fc.oneof({ weight: 1, arbitrary: rpc }, { weight: 6, arbitrary: fc.oneof(...admin) });
}

/** Sends that many generated requests, and gives every answer that no caller should get. */
async function fuzz(headers: Record<string, string>): Promise<string[]> {
  const requests = fc.sample(requestOf(), { numRuns: REQUESTS, seed: 1 });
  const wrong: string[] = [];
  const sendInTurn = async () => {
    for (let request = requests.pop(); request !== undefined; request = requests.pop()) {
      const { method, path, body } = request;
      const response = await fetch(new URL(path, node.url), {
        method,
        headers: { 'content-type': 'application/json', ...headers },
        signal: AbortSignal.timeout(20_000),
        ...(body === undefined ? {} : { body }),
      });
      const text = await response.text();
      const isFault = response.status >= 500 && response.status !== 501;
      if (isFault) wrong.push(`${method} ${path} ${body ?? ''} → ${response.status} ${text}`);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, sendInTurn));
  return wrong;
}

describe('10 000 generated requests', () => {
  test('of callers who may nothing do nothing, and get no 5xx', async () => {
    await using database = openTestDatabase(node.database.ownerUrl);
    const count = async () => {
      const { rows } = await sql`SELECT (SELECT count(*) FROM transactions) AS log,
        (SELECT count(*) FROM contexts) AS contexts, (SELECT count(*) FROM applications) AS apps,
        (SELECT count(*) FROM members) AS members, (SELECT count(*) FROM identity_events) AS keys,
        (SELECT count(*) FROM aliases) AS aliases, (SELECT count(*) FROM blobs) AS blobs`.execute(
        database.kysely,
      );
      return rows;
    };
    const before = await count();

    expect(await fuzz(stranger)).toEqual([]);

    expect(await count()).toEqual(before);
  }, 120_000);

  test('of the operator get no 5xx, and the node lives on', async () => {
    const { token } = node.client;
    expect(await fuzz({ authorization: `Bearer ${token}` })).toEqual([]);

    expect((await fetch(`${node.internalUrl}/readyz`)).status).toBe(200);
  }, 120_000);
});
