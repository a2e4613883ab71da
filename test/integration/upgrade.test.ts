import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseContextId } from '#shared/protocol/ids.ts';
import { verifyLog } from '../../services/sync/replay/verify-log.ts';
import type { Client } from '../support/client.ts';
import { openTestDatabase, readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { assemble } from '../support/wat.ts';

/** Answers 2, and keeps a key of its own beside those of the application before it. */
const second = assemble(`(module
  (import "env" "storage_write" (func $write (param i64 i64 i64 i64 i64) (result i32)))
  (import "env" "storage_read" (func $read (param i64 i64 i64) (result i32)))
  (import "env" "value_return" (func $return (param i64 i64 i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "migrated2")
  (func (export "migrate")
    (drop (call $write (i64.const 0) (i64.const 8) (i64.const 8) (i64.const 1) (i64.const 1))))
  (func (export "fail") (unreachable))
  (func (export "version") (call $return (i64.const 0) (i64.const 8) (i64.const 1)))
  (func (export "is_migrated")
    (if (call $read (i64.const 0) (i64.const 8) (i64.const 1))
      (then (call $return (i64.const 0) (i64.const 8) (i64.const 1))))))`);

let node: TestNode;
let client: Client;
let kvStore: string;
let next: string;
beforeAll(async () => {
  node = await startTestNode();
  client = node.client;
  kvStore = await client.install('kv-store');
  next = await client.install(second);
});
afterAll(() => node[Symbol.asyncDispose]());

const upgrade = (contextId: string, applicationId: string, more: object = {}) =>
  client.post(`/admin-api/contexts/${contextId}/application`, { applicationId, ...more });
const output = async (contextId: string, method: string) =>
  (await client.query(contextId, method)).result?.output;

test('a context gets another application, keeps its state, and its log can be run again', async () => {
  const contextId = await client.createContext(kvStore);
  await client.mutate(contextId, 'set', { key: 'a', value: 'b' });

  const answer = await upgrade(contextId, next, { migrationMethod: 'migrate' });
  expect([answer.status, await answer.text()]).toEqual([200, '{"data":null}']);
  expect(await output(contextId, 'version')).toBe(2);
  expect(await output(contextId, 'is_migrated')).toBe(2);
  expect((await client.query(contextId, 'get', { key: 'a' })).error?.data).toBe(
    'method "get" not found',
  );
  const shown = await client.admin(`/admin-api/contexts/${contextId}`);
  expect(shown['applicationId']).toBe(next);

  expect((await upgrade(contextId, kvStore)).status).toBe(200);
  expect((await client.query(contextId, 'get', { key: 'a' })).result?.output).toBe('b');
  await client.mutate(contextId, 'set', { key: 'c', value: 'd' });

  const log = await readLog(node.database.serviceUrl, contextId);
  expect(log.map(({ kind }) => kind)).toEqual(['init', 'mutate', 'upgrade', 'upgrade', 'mutate']);
  // What the context was of is needed to run its log again.
  const uninstall = (applicationId: string) =>
    client.post('/admin-api/uninstall-application', { applicationId });
  expect((await uninstall(next)).status).toBe(409);
  await using database = openTestDatabase(node.database.serviceUrl);
  const verified = await verifyLog(database, parseContextId(contextId));
  expect(verified).toMatchObject({ outcome: 'verified', verified: log.length });
});

test('uninstalling that races with an upgrade or a creation lets one of the two win', async () => {
  for (let round = 0; round < 15; round += 1) {
    const applicationId = await client.install(
      assemble(`(module (memory (export "memory") ${round + 1}))`),
    );
    const contextId = await client.createContext(kvStore);
    const [upgraded, created, uninstalled] = await Promise.all([
      upgrade(contextId, applicationId),
      client.post('/admin-api/contexts', { applicationId }),
      client.post('/admin-api/uninstall-application', { applicationId }),
    ]);

    const isUsed = upgraded.status === 200 || created.status === 200;
    expect(uninstalled.status === 200).toBe(!isUsed);
  }
});

test('survives a restart', async () => {
  const contextId = await client.createContext(kvStore);
  await client.mutate(contextId, 'set', { key: 'a', value: 'b' });
  await upgrade(contextId, next);
  await node.stop();

  await using again = await startTestNode({ database: node.database });
  expect((await again.client.query(contextId, 'version')).result?.output).toBe(2);
  node = await startTestNode({ database: node.database });
  client = node.client;
});

test('a migration that fails, or an application that is not there, changes nothing', async () => {
  const contextId = await client.createContext(kvStore);
  await client.mutate(contextId, 'set', { key: 'a', value: 'b' });

  for (const [method, reason] of [
    ['fail', 'unreachable code reached'],
    ['nope', 'method "nope" not found'],
  ]) {
    const answer = await upgrade(contextId, next, { migrationMethod: method });
    expect([answer.status, await answer.text()]).toEqual([
      400,
      JSON.stringify({ error: `the context keeps its application: ${reason}` }),
    ]);
  }
  expect((await upgrade(contextId, contextId)).status).toBe(404);
  const stranger = { executorPublicKey: contextId };
  expect((await upgrade(contextId, next, stranger)).status).toBe(403);

  expect((await client.query(contextId, 'get', { key: 'a' })).result?.output).toBe('b');
  expect(await readLog(node.database.serviceUrl, contextId)).toHaveLength(2);
});

test('mutations under way meet the old application or the new one, never half of either', async () => {
  const contextId = await client.createContext(kvStore);
  const before = Array.from({ length: 20 }, (_, i) =>
    client.mutate(contextId, 'set', { key: `k${i}`, value: 'v' }),
  );
  const upgrading = upgrade(contextId, next);
  const after = Array.from({ length: 20 }, () => client.mutate(contextId, 'version', {}));

  expect((await upgrading).status).toBe(200);
  const answers = await Promise.all([...before, ...after]);
  const log = await readLog(node.database.serviceUrl, contextId);
  const at = log.findIndex(({ kind }) => kind === 'upgrade');
  for (const [i, { method }] of log.entries()) {
    if (method === 'set') expect(i).toBeLessThan(at);
    if (method === 'version') expect(i).toBeGreaterThan(at);
  }
  expect(answers.filter(({ result }) => result !== undefined).length).toBeGreaterThan(0);
});
