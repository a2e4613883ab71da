import { mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { addRootKey } from '#shared/store/key-store.ts';
import { eventually } from '../support/eventually.ts';
import { createTestDatabase, testNatsUrl } from '../support/infra.ts';
import { openTestDatabase } from '../support/log.ts';
import { isAlive, NodeProcess, readEmbeddedServers } from '../support/node-process.ts';
import { WsClient } from '../support/ws-client.ts';

let data: string;
beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'cairn-standalone-'));
});
afterAll(() => rm(data, { recursive: true, force: true }));

test('a first start shows two contexts, one of them moving, and its curl lines work', async () => {
  await using node = await NodeProcess.start({ data });
  const { client } = node;

  const { contexts } = await client.admin<{ contexts: { id: string }[] }>('/admin-api/contexts');
  expect(contexts).toHaveLength(2);
  const curls = node.stdout.matchAll(/-d '(.+?)' (\S+)/g);
  const outputs: unknown[] = [];
  for (const [, body = '', url = ''] of curls) {
    const response = await client.post(url, body);
    outputs.push(((await response.json()) as { result: { output: unknown } }).result.output);
  }
  expect(outputs).toEqual([null, 'hello']);

  await using subscriber = await WsClient.connect(node.url, client.token);
  await subscriber.subscribe(contexts.map(({ id }) => id));
  await eventually(() => subscriber.events('TransactionExecuted').length >= 2);
});

test('a second start on the same directory is refused, and the first lives on', async () => {
  await using node = await NodeProcess.start({ data });

  const second = await NodeProcess.run({ data });

  expect(second.code).toBe(1);
  expect(second.stderr).toBe(
    `cairn: another Cairn node (process ${node.pid}) is using ${data}: ` +
      'stop it, or choose another directory with --data\n',
  );
  expect((await fetch(`${node.internalUrl}/readyz`)).status).toBe(200);
});

test('Ctrl-C leaves no process and no port, and the next start finds all data', async () => {
  const first = await NodeProcess.start({ data });
  const contextId = await first.client.open('kv-store');
  await first.client.mutate(contextId, 'set', { key: 'a', value: 'b' });
  const { postgresPid, natsPid } = await readEmbeddedServers(data);
  expect([postgresPid, natsPid].map(isAlive)).toEqual([true, true]);

  expect(await first.end('SIGINT')).toBe(0);

  expect([postgresPid, natsPid].map(isAlive)).toEqual([false, false]);
  expect(await canConnect(first.url)).toBe(false);
  expect(first.stderr).toBe('');

  await using second = await NodeProcess.start({ data });
  const { result } = await second.client.query(contextId, 'get', { key: 'a' });
  expect(result?.output).toBe('b');
  expect(second.client.token).toBe(first.client.token);
});

test('the secret key is rotated, and a rotation that was cut off is finished or forgotten', async () => {
  const path = (name: string) => join(data, 'secrets', name);
  const start = (...args: string[]) => NodeProcess.start({ data, args: ['--no-demo', ...args] });
  const contextId = await (async () => {
    await using node = await start();
    return await node.client.open('kv-store');
  })();
  /** Inviting needs the private key of the inviter. */
  const works = async (node: NodeProcess) => {
    const { client } = node;
    const base = `/admin-api/contexts/${contextId}/identities-owned`;
    const { identities } = await client.admin<{ identities: string[] }>(base);
    const inviterId = identities[0];
    await client.admin('/admin-api/contexts/invite', {
      contextId,
      inviterId,
      inviteeId: inviterId,
    });
  };
  const before = await readFile(path('secret-key'), 'utf8');
  {
    await using node = await start('--rotate-secret-key');
    expect(node.stdout).toMatch(/The secret key was rotated: [1-9]\d* private keys/);
    await works(node);
  }
  const after = await readFile(path('secret-key'), 'utf8');
  expect(after).not.toBe(before);

  // Cut off behind the commit: the new key has not taken its place. And before it: it never will.
  await writeFile(path('secret-key.next'), after);
  await writeFile(path('secret-key'), before);
  {
    await using node = await start();
    await works(node);
  }
  expect(await readFile(path('secret-key'), 'utf8')).toBe(after);
  await writeFile(path('secret-key.next'), before);
  await using node = await start();
  await works(node);
  expect(await readFile(path('secret-key'), 'utf8')).toBe(after);
  await expect(readFile(path('secret-key.next'))).rejects.toThrow('ENOENT');
});

test('a start that cannot be ends with the reason, and makes no new secret key', async () => {
  await writeFile(join(data, 'access.toml'), '[[user]]\nallow = "context_fly"\n');
  expect(await NodeProcess.run({ data, args: ['--no-demo', '--log-level=fatal'] })).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^cairn: the access file .*is not used: .*context_fly/) as string,
  });
  await rm(join(data, 'access.toml'));

  const key = join(data, 'secrets', 'secret-key');
  await rename(key, `${key}.kept`);
  expect(await NodeProcess.run({ data, args: ['--no-demo'] })).toEqual({
    code: 1,
    stderr: expect.stringMatching(/^cairn: .*secret-key is missing.*backup/) as string,
  });
  await expect(readFile(key)).rejects.toThrow('ENOENT');
  await writeFile(key, `${'00'.repeat(32)}\n`);
  expect(await NodeProcess.run({ data, args: ['--no-demo'] })).toEqual({
    code: 1,
    stderr: expect.stringContaining('secret-key is not the key') as string,
  });
  await rename(`${key}.kept`, key);
  await using node = await NodeProcess.start({ data, args: ['--no-demo'] });
  expect((await fetch(`${node.internalUrl}/readyz`)).status).toBe(200);
});

test('a new admin token, or a new secret key, ends the tokens made with the admin token', async () => {
  const start = (...args: string[]) => NodeProcess.start({ data, args: ['--no-demo', ...args] });
  interface Pair {
    readonly access_token: string;
    readonly refresh_token: string;
  }
  const makePair = async ({ client }: NodeProcess) => {
    const contextId = await client.open('kv-store');
    const base = `/admin-api/contexts/${contextId}/identities-owned`;
    const { identities } = await client.admin<{ identities: string[] }>(base);
    const body = { contextId, executorPublicKey: identities[0] };
    return { contextId, pair: await client.admin<Pair>('/admin-api/generate-jwt-token', body) };
  };
  const use = async (
    { url }: NodeProcess,
    { contextId, pair }: { contextId: string; pair: Pair },
  ) => {
    const status = async (path: string, body: object) => {
      const headers = {
        'content-type': 'application/json',
        ...(path === '/jsonrpc' ? { authorization: `Bearer ${pair.access_token}` } : {}),
      };
      const init = { method: 'POST', headers, body: JSON.stringify(body) };
      return (await fetch(new URL(path, url), init)).status;
    };
    const params = { contextId, method: 'len', argsJson: {} };
    return [
      await status('/jsonrpc', { jsonrpc: '2.0', id: 1, method: 'query', params }),
      await status('/admin-api/refresh-jwt-token', { refreshToken: pair.refresh_token }),
    ];
  };

  const first = await start();
  const old = await makePair(first);
  await first.end('SIGINT');
  await rm(join(data, 'secrets', 'admin-token'));
  const second = await start();
  expect(await use(second, old)).toEqual([401, 401]);
  const next = await makePair(second);
  const spare = await makePair(second);
  expect(await use(second, next)).toEqual([200, 200]);
  await second.end('SIGINT');
  await using third = await start('--rotate-secret-key');
  expect(await use(third, spare)).toEqual([401, 401]);
});

test('SIGHUP reads the access file again', async () => {
  await using node = await NodeProcess.start({ data, args: ['--no-demo'] });
  const list = () => fetch(new URL('/admin-api/applications', node.url));
  expect((await list()).status).toBe(401);

  await writeFile(join(data, 'access.toml'), '[[user]]\nallow = "application_read"\n');
  process.kill(node.pid, 'SIGHUP');
  await eventually(async () => (await list()).status === 200);
  await rm(join(data, 'access.toml'));
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s that arrives twice, from a terminal and from a parent, still stops everything in order',
  async (signal) => {
    const node = await NodeProcess.start({ data, args: ['--no-demo'] });
    const { postgresPid, natsPid } = await readEmbeddedServers(data);

    process.kill(node.pid, signal);
    expect(await node.end(signal)).toBe(0);

    expect([postgresPid, natsPid].map(isAlive)).toEqual([false, false]);
    expect(node.stdout).toContain(`Stopped. The data stays in ${data}`);
  },
);

test('a directory with a space in its name is as good as any', async () => {
  await using node = await NodeProcess.start({ data: join(data, 'with a space') });

  expect(node.stdout).toContain('kv-store');
});

test('a server of the node that crashes is reported and started again', async () => {
  await using node = await NodeProcess.start({ data, args: ['--no-demo'] });
  const { client } = node;
  const contextId = await client.open('kv-store');
  const { postgresPid, natsPid } = await readEmbeddedServers(data);

  process.kill(postgresPid, 'SIGKILL');
  await eventually(async () => {
    const { result } = await client.mutate(contextId, 'set', { key: 'a', value: 'after' });
    return result;
  });
  await eventually(() => node.stderr.includes('postgres is running again'));
  process.kill(natsPid, 'SIGKILL');
  await eventually(() => node.stderr.includes('nats-server is running again'));
  await eventually(async () => (await client.query(contextId, 'get', { key: 'a' })).result?.output);

  expect(node.stderr).toContain('postgres ended by');
  expect(node.stderr).toContain('nats-server ended by SIGKILL, starting it again');
});

test('a start without the demo is remembered, and the setup token is shown while it can be used', async () => {
  const empty = await mkdtemp(join(tmpdir(), 'cairn-empty-'));
  await using database = await createTestDatabase();
  const env = { DATABASE_URL: database.ownerUrl, NATS_URL: testNatsUrl() };
  const printed = async (...args: string[]) => {
    await using node = await NodeProcess.start({ data: empty, env, args });
    expect(node.stdout).toContain(`process        ${node.pid} `);
    return node.stdout;
  };
  try {
    expect(await printed('--no-demo')).toContain('setup token');
    expect(await printed()).not.toContain('kv-store');
    const address = `0x${'ab'.repeat(20)}`;
    expect(await printed('--demo', `--first-root-key=${address}`)).not.toContain('setup token');
    expect(await printed()).toContain('kv-store');
    const refused = await NodeProcess.run({
      data: empty,
      env,
      args: ['--first-root-key=nonsense'],
    });
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining('a wallet key is ed25519:') as string,
    ]);
    await using owner = openTestDatabase(database.ownerUrl);
    const key = { verifyingKey: address, wallet: '{"type":"ETH"}', walletAddress: '' };
    await addRootKey(owner, key, { actor: 'admin', signature: null, onlyFirst: true });
    expect(await printed()).not.toContain('setup token');
  } finally {
    await rm(empty, { recursive: true, force: true });
  }
});

test('with servers given, nothing is embedded', async () => {
  const empty = await mkdtemp(join(tmpdir(), 'cairn-given-'));
  await using database = await createTestDatabase();
  try {
    await using node = await NodeProcess.start({
      data: empty,
      env: { DATABASE_URL: database.ownerUrl, NATS_URL: testNatsUrl() },
    });

    const contextId = await node.client.open('kv-store');
    expect((await node.client.mutate(contextId, 'set', { key: 'a', value: 'b' })).result).toEqual({
      output: null,
      sequence: '2',
      hash: expect.any(String) as string,
    });
    await expect(readFile(join(empty, 'postgres/PG_VERSION'))).rejects.toThrow('ENOENT');
    await expect(readFile(join(empty, 'nats/nats.conf'))).rejects.toThrow('ENOENT');
  } finally {
    await rm(empty, { recursive: true, force: true });
  }
});

test('a port that is taken is named, and what was started is stopped', async () => {
  await using node = await NodeProcess.start({ data, args: ['--no-demo'] });
  const port = Number(new URL(node.url).port);
  const other = await mkdtemp(join(tmpdir(), 'cairn-port-'));
  await using database = await createTestDatabase();

  const env = { DATABASE_URL: database.ownerUrl, NATS_URL: testNatsUrl() };
  const { code, stderr } = await NodeProcess.run({ data: other, port, env });

  expect(code).toBe(1);
  expect(stderr).toBe(
    `cairn: port ${port} on 127.0.0.1 is taken: stop the program that uses it, or choose another one with --port or --internal-port\n`,
  );
  await rm(other, { recursive: true, force: true });
});

function canConnect(url: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(Number(new URL(url).port), '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
