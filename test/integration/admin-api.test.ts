import { createServer, get, type RequestListener, type Server } from 'node:http';
import { Readable } from 'node:stream';
import type { AddressInfo } from 'node:net';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import { oddGuest } from '../guests/odd-guest.ts';
import type { Client } from '../support/client.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { assemble } from '../support/wat.ts';

const KV_FILE = new URL('../../examples/kv-store/kv-store.wasm', import.meta.url);
const UNKNOWN = encodeBase58(new Uint8Array(32).fill(200));

let node: TestNode;
let client: Client;
let kvBytes: Buffer;

beforeAll(async () => {
  node = await startTestNode({ admin: { downloadMs: 300, blobBytesMax: 3_000_000 } });
  client = node.client;
  kvBytes = await readFile(KV_FILE);
});
afterAll(() => node[Symbol.asyncDispose]());

describe('who may enter', () => {
  test('health is for everybody, the rest for who has the token', async () => {
    const health = await fetch(new URL('/admin-api/health', node.url));
    expect([health.status, await health.json()]).toEqual([200, { data: { status: 'alive' } }]);

    for (const path of ['is-authed', 'contexts', 'applications', 'blobs']) {
      const refused = await fetch(new URL(`/admin-api/${path}`, node.url));
      expect([refused.status, await refused.text()]).toEqual([
        401,
        'a valid token is needed: send "Authorization: Bearer <token>", or ?token=<token>',
      ]);
      expect((await client.fetch(`/admin-api/${path}`)).status).toBe(200);
    }
  });

  test('unknown routes are 404, other verbs 405, and a preflight needs no token', async () => {
    expect((await client.fetch('/admin-api/nope')).status).toBe(404);
    expect((await client.fetch('/nope')).status).toBe(404);
    expect((await client.fetch('/admin-api/contexts', { method: 'PUT' })).status).toBe(405);
    const preflight = await fetch(new URL('/admin-api/contexts', node.url), { method: 'OPTIONS' });
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get('access-control-allow-origin')).toBe('*');
  });
});

describe('an open node', () => {
  test('lets in this machine, but no page of another site and no rebound name', async () => {
    await node.stop();
    await using open = await startTestNode({ open: true });
    const get = (headers: Record<string, string>) =>
      fetch(new URL('/admin-api/contexts', open.url), { headers });

    expect((await get({})).status).toBe(200);
    expect((await get({ origin: 'http://localhost:3000' })).status).toBe(200);
    expect((await get({ origin: 'https://evil.example' })).status).toBe(401);
    expect((await get({ 'x-forwarded-for': '10.0.0.1' })).status).toBe(401);
    expect((await get({ authorization: 'Bearer wrong' })).status).toBe(401);
    node = await startTestNode({ admin: { downloadMs: 300, blobBytesMax: 3_000_000 } });
    client = node.client;
  });
});

describe('applications', () => {
  test('are installed from a URL, verified by hash, and listed in both casings', async () => {
    await using site = await serve((_request, response) => response.end(kvBytes));
    const hash = encodeBase58(createHash('sha256').update(kvBytes).digest());

    const data = await client.admin('/admin-api/install-application', {
      url: site.url,
      hash,
      metadata: [1, 2],
    });
    const again = await client.admin('/admin-api/install-application', {
      url: site.url,
      metadata: [1, 2],
    });
    const one = await client.admin(`/admin-api/applications/${String(data['applicationId'])}`);
    const { apps } = await client.admin<{ apps: unknown[] }>('/admin-api/applications');

    expect(data['applicationId']).toBe(data['application_id']);
    expect(again).toEqual(data);
    expect(one).toMatchObject({
      id: data['applicationId'],
      size: kvBytes.length,
      source: site.url,
      metadata: [1, 2],
      application: { id: data['applicationId'] },
    });
    const { application, ...listed } = one as { application: unknown };
    expect(apps).toContainEqual(listed);
    expect(application).toEqual(listed);
  });

  test.each<[string, RequestListener, object, RegExp]>([
    [
      'answers 404',
      (_request, response) => response.writeHead(404).end('<html>'),
      {},
      /the URL answered 404/,
    ],
    ['hangs', () => undefined, {}, /within 300 ms/],
    [
      'stops in the middle',
      (_request, response) => response.writeHead(200).write('x'),
      {},
      /within 300 ms/,
    ],
    ['hangs up', (request) => request.socket.destroy(), {}, /cannot be downloaded/],
    [
      'delivers no module',
      (_request, response) => response.end('<html>'),
      {},
      /not a WebAssembly module/,
    ],
    [
      'delivers another file',
      (_request, response) => response.end(kvBytes),
      { hash: UNKNOWN },
      /not the given hash/,
    ],
    [
      'delivers the file, with a bad hash',
      (_request, response) => response.end(kvBytes),
      { hash: 'x' },
      /invalid length/,
    ],
  ])('a URL that %s is refused', async (_name, listener, change, reason) => {
    await using site = await serve(listener);
    const response = await client.post('/admin-api/install-application', {
      url: site.url,
      metadata: [],
      ...change,
    });

    expect(response.status).toBe(400);
    expect(((await response.json()) as { error: string }).error).toMatch(reason);
  });

  test.each<[string, RegExp]>([
    ['not a url', /is not a URL/],
    ['file:///etc/passwd', /only http and https/],
    ['http://127.0.0.1:1/app.wasm', /cannot be downloaded/],
  ])('the URL %s is refused', async (url, reason) => {
    const response = await client.post('/admin-api/install-application', { url, metadata: [] });

    expect([response.status, await response.text()]).toEqual([400, expect.stringMatching(reason)]);
  });

  test.each<[string, RegExp]>([
    ['relative.wasm', /not absolute/],
    ['/nowhere/app.wasm', /ENOENT/],
    ['/tmp', /not a file/],
    ['/etc/hostname', /not a WebAssembly module/],
  ])('the path %s is refused', async (path, reason) => {
    const response = await client.post('/admin-api/install-dev-application', { path });

    expect([response.status, await response.text()]).toEqual([400, expect.stringMatching(reason)]);
  });

  test('a module of 4 GiB memory, or with unknown imports, is refused', async () => {
    await expect(
      client.install(assemble('(module (memory (export "memory") 65536))')),
    ).rejects.toThrow(/400 .*65536 pages/);
    await expect(
      client.install(
        assemble('(module (import "env" "launch" (func)) (memory (export "memory") 1))'),
      ),
    ).rejects.toThrow(/env\.launch/);
  });

  test('an unknown application is 404, a bad id 400', async () => {
    expect((await client.fetch(`/admin-api/applications/${UNKNOWN}`)).status).toBe(404);
    const bad = await client.fetch('/admin-api/applications/abc');
    expect([bad.status, await bad.json()]).toEqual([400, { error: 'Invalid app id' }]);
  });
});

describe('contexts', () => {
  test('are created, shown in every generation’s shape, measured and deleted', async () => {
    const applicationId = await client.install('kv-store');
    const data = await client.admin('/admin-api/contexts', {
      applicationId,
      initializationParams: [123, 125],
    });
    const contextId = String(data['contextId']);
    expect(data).toEqual({
      contextId,
      context_id: contextId,
      memberPublicKey: expect.any(String),
      member_public_key: data['memberPublicKey'],
    });

    const { hash } = (await client.mutate(contextId, 'set', { key: 'k', value: 'v' })).result ?? {};
    const shape = { id: contextId, applicationId, lastTransactionHash: hash, rootHash: hash };
    const { contexts } = await client.admin<{ contexts: unknown[] }>('/admin-api/contexts');
    expect(contexts).toContainEqual(shape);
    expect(await client.admin(`/admin-api/contexts/${contextId}`)).toEqual({
      ...shape,
      context: shape,
    });
    for (const route of ['identities', 'identities-owned']) {
      expect(await client.admin(`/admin-api/contexts/${contextId}/${route}`)).toEqual({
        identities: [data['memberPublicKey']],
      });
    }

    const sizeOf = async () =>
      (await client.admin<{ sizeInBytes: number }>(`/admin-api/contexts/${contextId}/storage`))
        .sizeInBytes;
    const before = await sizeOf();
    await client.mutate(contextId, 'set', { key: 'k', value: 'v'.repeat(1_001) });
    expect((await sizeOf()) - before).toBe(1_000);

    expect(await client.deleteContext(contextId)).toBe(true);
    expect(await client.deleteContext(contextId)).toBe(false);
    expect((await client.fetch(`/admin-api/contexts/${contextId}`)).status).toBe(404);
    expect((await client.query(contextId, 'len')).error).toMatchObject({
      type: 'CallError',
      data: { type: 'ContextNotFound' },
    });
  });

  test('a seed decides the id, once, and not again after a deletion', async () => {
    const applicationId = await client.install('kv-store');
    const body = { applicationId, contextSeed: UNKNOWN, initializationParams: [123, 125] };
    const { contextId } = await client.admin<{ contextId: string }>('/admin-api/contexts', body);

    const again = await client.post('/admin-api/contexts', body);
    expect([again.status, await again.json()]).toEqual([
      409,
      { error: 'Context already exists on node.' },
    ]);
    await client.deleteContext(contextId);
    expect((await client.post('/admin-api/contexts', body)).status).toBe(409);
  });

  test('whose init fails are not created, and the reason is told', async () => {
    const odd = await client.install(assemble(oddGuest(1)));
    const failing = await client.install(
      assemble('(module (memory (export "memory") 1) (func (export "init") unreachable))'),
    );
    const before = await client.admin<{ contexts: unknown[] }>('/admin-api/contexts');

    await expect(client.createContext(failing)).rejects.toThrow(
      '500 {"error":"unreachable code reached"}',
    );
    expect(await client.admin('/admin-api/contexts')).toEqual(before);
    await expect(client.createContext(odd)).resolves.toEqual(expect.any(String));
  });

  test.each<[string, unknown, number, RegExp]>([
    ['malformed JSON', '{', 400, /^Failed to parse the request body as JSON/],
    ['a missing field', {}, 422, /applicationId/],
    [
      'a number over 255',
      { applicationId: UNKNOWN, initializationParams: [256] },
      422,
      /initializationParams\.0/,
    ],
    [
      'a short seed',
      { applicationId: UNKNOWN, contextSeed: 'abc' },
      422,
      /contextSeed: invalid length 3/,
    ],
    [
      'an unknown application',
      { applicationId: UNKNOWN },
      404,
      /Application is not installed on node\./,
    ],
    ['a body of 3 MB', { applicationId: 'x'.repeat(3e6) }, 413, /over 2097152 bytes/],
  ])('%s is refused', async (_name, body, status, reason) => {
    const response = await client.post('/admin-api/contexts', body);

    expect([response.status, await response.text()]).toEqual([
      status,
      expect.stringMatching(reason),
    ]);
  });

  test('another content type is 415', async () => {
    const response = await client.fetch('/admin-api/contexts', { method: 'POST', body: '{}' });

    expect(response.status).toBe(415);
  });
});

describe('blobs', () => {
  const put = (body: Uint8Array | string, query = '') =>
    client.fetch(`/admin-api/blobs${query}`, { method: 'PUT', body: Buffer.from(body) });

  test('are stored by content, read with their headers, and deleted', async () => {
    const stored = await put('hello');
    const id = 'B4vDoZ2b3EoHNyf727eRqm5cKwbniJL7NTwPqs3o4cwH';
    expect(await stored.json()).toEqual({ data: { blob_id: id, blobId: id, size: 5 } });

    const read = await client.fetch(`/admin-api/blobs/${id}`);
    expect(await read.text()).toBe('hello');
    expect(Object.fromEntries(read.headers)).toMatchObject({
      'content-length': '5',
      'content-type': 'application/octet-stream',
      etag: '"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"',
      'cache-control': 'private, no-cache',
      'x-blob-id': id,
      'x-content-type-options': 'nosniff',
    });
    const head = await client.fetch(`/admin-api/blobs/${id}`, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([
      200,
      '5',
      '',
    ]);
    expect(await statusOf(`/admin-api/blobs/${id}`, read.headers.get('etag') ?? '')).toBe(304);
    expect(await statusOf(`/admin-api/blobs/${id}`, '"other"')).toBe(200);
    const list = await client.admin<{ blobs: unknown[] }>('/admin-api/blobs');
    expect(list.blobs).toContainEqual({ blob_id: id, blobId: id, size: 5 });

    const remove = () => client.fetch(`/admin-api/blobs/${id}`, { method: 'DELETE' });
    expect(await (await remove()).json()).toMatchObject({ blob_id: id, deleted: true });
    const gone = await remove();
    expect([gone.status, await gone.json()]).toEqual([404, { error: 'Blob not found' }]);
    expect((await client.fetch(`/admin-api/blobs/${id}`)).status).toBe(404);
  });

  test('of several chunks, and of none', async () => {
    const bytes = Buffer.alloc(1_048_581, 7);
    const { data } = (await (await put(bytes)).json()) as { data: { blob_id: string } };
    expect(data.blob_id).toBe('8n7kdHioG6tHqfnHC44NSPYDWYcVZ36U2KRJWnUvnJY8');
    const read = await client.fetch(`/admin-api/blobs/${data.blob_id}`);
    expect(Buffer.from(await read.arrayBuffer()).equals(bytes)).toBe(true);

    const empty = (await (await put('')).json()) as { data: { blob_id: string; size: number } };
    expect(empty.data.size).toBe(0);
    expect(await (await client.fetch(`/admin-api/blobs/${empty.data.blob_id}`)).text()).toBe('');
  });

  test('are known by their type', async () => {
    const { data } = (await (await put(kvBytes)).json()) as { data: { blob_id: string } };
    const read = await client.fetch(`/admin-api/blobs/${data.blob_id}`, { method: 'HEAD' });

    expect(read.headers.get('content-type')).toBe('application/wasm');
  });

  test('of an installed application cannot be deleted', async () => {
    const id = await client.install('kv-store');
    const { blob } = await client.admin(`/admin-api/applications/${id}`);
    const response = await client.fetch(`/admin-api/blobs/${String(blob)}`, { method: 'DELETE' });

    expect(response.status).toBe(409);
  });

  test('are read in part', async () => {
    const bytes = Buffer.from(Array.from({ length: 1_500_000 }, (_, i) => (i * 7) & 255));
    const { data } = (await (await put(bytes)).json()) as { data: { blob_id: string } };
    const path = `/admin-api/blobs/${data.blob_id}`;
    const read = async (range: string, headers: Record<string, string> = {}) => {
      const response = await client.fetch(path, { headers: { range, ...headers } });
      const body = Buffer.from(await response.arrayBuffer());
      return [response.status, response.headers.get('content-range'), body] as const;
    };

    for (const [range, start, end] of [
      ['bytes=0-9', 0, 10],
      ['bytes=1048570-1048585', 1_048_570, 1_048_586],
      ['bytes=1499990-', 1_499_990, 1_500_000],
      ['bytes=1499990-9999999', 1_499_990, 1_500_000],
      ['bytes=-5', 1_499_995, 1_500_000],
    ] as const) {
      const [status, header, body] = await read(range);
      expect([status, header]).toEqual([206, `bytes ${start}-${end - 1}/1500000`]);
      expect(body.equals(bytes.subarray(start, end))).toBe(true);
    }
    expect((await read('bytes=1500000-')).slice(0, 2)).toEqual([416, 'bytes */1500000']);
    expect((await read('bytes=9-3'))[0]).toBe(416);
    expect((await read('lines=1-2'))[0]).toBe(200);

    const etag = (await client.fetch(path)).headers.get('etag') ?? '';
    expect((await read('bytes=0-9', { 'if-range': etag }))[0]).toBe(206);
    const [status, , whole] = await read('bytes=0-9', { 'if-range': '"other"' });
    expect([status, whole.length]).toEqual([200, 1_500_000]);
    expect((await read('bytes=1500000-', { 'if-range': '"other"' }))[0]).toBe(200);
    const cacheControl = async (url: string, headers: Record<string, string>) =>
      (await fetch(new URL(url, node.url), { headers })).headers.get('cache-control');
    const authorization = `Bearer ${client.token}`;
    expect(await cacheControl(path, { authorization, range: 'bytes=1500000-' })).toBe('no-store');
    expect(await cacheControl(`${path}?token=${client.token}`, {})).toBe('no-store');
  });

  test('are refused when too large, when another hash was promised, and under a bad id', async () => {
    expect((await put(Buffer.alloc(3_000_001))).status).toBe(413);
    // Without a length the server finds out on the way, and may cut the connection.
    const streamed = await client
      .fetch('/admin-api/blobs', {
        method: 'PUT',
        body: Readable.from(Array.from({ length: 100 }, () => Buffer.alloc(65_536))),
        duplex: 'half',
      })
      .then(
        ({ status }) => status,
        () => 413,
      );
    expect(streamed).toBe(413);
    expect((await put('x', `?hash=${UNKNOWN}`)).status).toBe(400);
    const bad = await put('x', '?hash=abc');
    expect(await bad.json()).toEqual({ error: 'The provided hash is not a valid format' });
    const badId = await client.fetch('/admin-api/blobs/abc');
    expect([badId.status, await badId.json()]).toEqual([400, { error: 'Invalid blob ID format' }]);
  });
});

/** Not by `fetch`, which forbids caches to answer a conditional request. */
function statusOf(path: string, etag: string): Promise<number | undefined> {
  const headers = { authorization: `Bearer ${client.token}`, 'if-none-match': etag };
  return new Promise((resolve, reject) => {
    get(new URL(path, node.url), { headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on('error', reject);
  });
}

async function serve(listener: RequestListener): Promise<AsyncDisposable & { url: string }> {
  const server: Server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/app.wasm`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
