import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { decodeId, encodeBase58, encodeId } from '#shared/crypto/base58.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import type { Verification } from '#shared/protocol/audit-api.ts';
import { decodeFork } from '#shared/protocol/fork.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import { sealTransaction } from '#shared/protocol/seal.ts';
import { verifyLog } from '../../services/sync/replay/verify-log.ts';
import type { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { openTestDatabase, readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { assemble } from '../support/wat.ts';
import { WsClient } from '../support/ws-client.ts';

/** Keeps the id of the context that it runs in, commits a root that is random, and answers 2. */
const stamper = assemble(`(module
  (import "env" "context_id" (func $id (param i64)))
  (import "env" "random_bytes" (func $random (param i64 i64)))
  (import "env" "read_register" (func $read (param i64 i64 i64) (result i32)))
  (import "env" "storage_write" (func $write (param i64 i64 i64 i64 i64) (result i32)))
  (import "env" "commit" (func $commit (param i64 i64 i64 i64)))
  (import "env" "value_return" (func $return (param i64 i64 i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "stamp2")
  (func (export "stamp")
    (call $id (i64.const 0))
    (drop (call $read (i64.const 0) (i64.const 64) (i64.const 32)))
    (drop (call $write (i64.const 0) (i64.const 5) (i64.const 64) (i64.const 32) (i64.const 1)))
    (call $random (i64.const 128) (i64.const 32))
    (call $commit (i64.const 128) (i64.const 32) (i64.const 0) (i64.const 0)))
  (func (export "version") (call $return (i64.const 0) (i64.const 5) (i64.const 1))))`);

interface Forked {
  readonly contextId: string;
  readonly memberPublicKey: string;
  readonly forkedFrom: { readonly contextId: string; readonly sequence: string };
}

let node: TestNode;
let client: Client;
let kvStore: string;
let second: string;
beforeAll(async () => {
  node = await startTestNode({ executor: { snapshotEvery: 5 } });
  client = node.client;
  kvStore = await client.install('kv-store');
  second = await client.install(stamper);
});
afterAll(() => node[Symbol.asyncDispose]());

const base = (contextId: string) => `/admin-api/contexts/${contextId}`;
const set = (contextId: string, key: string, value = key) =>
  client.mutate(contextId, 'set', { key, value });
const entries = async (contextId: string) =>
  (await client.query(contextId, 'entries')).result?.output;
const fork = (contextId: string, sequence?: number, more: object = {}): Promise<Forked> =>
  client.admin<Forked>(`${base(contextId)}/fork`, {
    ...(sequence === undefined ? {} : { sequence: `${sequence}` }),
    ...more,
  });
const logOf = (contextId: string) => readLog(node.database.serviceUrl, contextId);
const upgrade = async (contextId: string, applicationId: string) =>
  await client.admin(`${base(contextId)}/application`, { applicationId });
const uninstall = async (applicationId: string) =>
  (await client.post('/admin-api/uninstall-application', { applicationId })).status;
const seals = (log: readonly Transaction[]) =>
  log.map(({ seal }) => Buffer.from(seal).toString('hex'));
const keysUpTo = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, `k${i}`]));

/** A context with `k0` at sequence 2, `k1` at 3, and so on. */
async function openWith(keys: number): Promise<string> {
  const contextId = await client.createContext(kvStore);
  for (let i = 0; i < keys; i += 1) await set(contextId, `k${i}`);
  return contextId;
}

/** Runs the whole log again, through whatever it shares. */
async function verify(contextId: string): Promise<Verification> {
  await using database = openTestDatabase(node.database.serviceUrl);
  return await verifyLog(database, parseContextId(contextId));
}

async function expectVerified(contextId: string): Promise<void> {
  const { length } = await logOf(contextId);
  expect(await verify(contextId)).toMatchObject({ outcome: 'verified', verified: length });
}

describe('a fork', () => {
  test('has the state of its parent at any sequence, and leaves the parent as it was', async () => {
    const parent = await openWith(17);
    const before = seals(await logOf(parent));
    for (const sequence of [1, 2, 6, 7, 12, 18, undefined]) {
      const forked = await fork(parent, sequence);
      const at = sequence ?? 18;
      expect(forked.forkedFrom).toEqual({ contextId: parent, sequence: `${at}` });
      expect(await entries(forked.contextId)).toEqual(keysUpTo(at - 1));
      const log = await logOf(forked.contextId);
      expect(seals(log.slice(0, at))).toEqual(before.slice(0, at));
      expect(log).toHaveLength(at + 1);
      expect(log[at]).toMatchObject({ kind: 'fork', contextId: forked.contextId, method: '' });
      expect(log[at]?.priorHash).toBe(log[at - 1]?.hash);
      expect(log[at]?.executorPublicKey).toBe(forked.memberPublicKey);
      expect(decodeFork(log[at]?.payload ?? new Uint8Array())).toEqual({
        contextId: parent,
        sequence: BigInt(at),
      });
      expect(await client.admin(base(forked.contextId))).toMatchObject({
        applicationId: kvStore,
        lastTransactionHash: log[at]?.hash,
        forkedFrom: forked.forkedFrom,
      });
    }
    const whole = await fork(parent);
    const size = (id: string) => client.admin(`${base(id)}/storage`);
    expect(await size(whole.contextId)).toEqual(await size(parent));
    expect(seals(await logOf(parent))).toEqual(before);
    expect(await client.admin(base(parent))).not.toHaveProperty('forkedFrom');
  });

  test('copies no row', async () => {
    const parent = await openWith(5);
    const { contextId } = await fork(parent);
    await using database = openTestDatabase(node.database.serviceUrl);
    const { rows } = await sql`SELECT t.sequence FROM transactions t JOIN contexts c USING (context)
      WHERE c.context_id = ${Buffer.from(decodeId(contextId))}`.execute(database.kysely);
    expect(rows).toEqual([{ sequence: '7' }]);
  });

  test('and its parent go on apart, and either log can be run again from its first', async () => {
    const parent = await openWith(8);
    const { contextId } = await fork(parent, 6);
    await Promise.all([
      set(parent, 'k1', 'parent'),
      set(contextId, 'k1', 'fork'),
      set(parent, 'only', 'parent'),
      set(contextId, 'other', 'fork'),
    ]);

    expect(await entries(parent)).toEqual({ ...keysUpTo(8), k1: 'parent', only: 'parent' });
    expect(await entries(contextId)).toEqual({ ...keysUpTo(5), k1: 'fork', other: 'fork' });
    for (const id of [parent, contextId]) {
      const log = await logOf(id);
      await expectVerified(id);
      let previous: Uint8Array = new Uint8Array(32);
      for (const transaction of log) {
        previous = sealTransaction(transaction, previous);
        expect(Buffer.compare(previous, transaction.seal)).toBe(0);
      }
    }
  });

  test('of a fork reads through both, also from before the first fork', async () => {
    const parent = await openWith(6);
    const first = await fork(parent, 5);
    for (const key of ['f1', 'f2', 'f3']) await set(first.contextId, key);
    const later = await fork(first.contextId, 8);
    const earlier = await fork(first.contextId, 3);
    await set(later.contextId, 'l');
    await set(first.contextId, 'f4');

    expect(await entries(later.contextId)).toEqual({ ...keysUpTo(4), f1: 'f1', f2: 'f2', l: 'l' });
    expect(later.forkedFrom).toEqual({ contextId: first.contextId, sequence: '8' });
    expect(await entries(earlier.contextId)).toEqual(keysUpTo(2));
    // Sequence 3 of the first fork is the parent's own.
    expect(earlier.forkedFrom).toEqual({ contextId: parent, sequence: '3' });
    for (const { contextId } of [first, later, earlier]) {
      await expectVerified(contextId);
    }
    const kinds = (await logOf(later.contextId)).map(({ kind }) => kind[0]).join('');
    expect(kinds).toBe('immmmfmmfm');
  });

  test('is found again after a restart, by snapshots of either side of where it began', async () => {
    const parent = await openWith(23);
    const early = await fork(parent, 4);
    const late = await fork(parent, 22);
    for (let i = 0; i < 12; i += 1) await set(late.contextId, `late${i}`);
    const expected = [await entries(early.contextId), await entries(late.contextId)];
    await node.stop();
    node = await startTestNode({ database: node.database, executor: { snapshotEvery: 5 } });
    client = node.client;

    expect([await entries(early.contextId), await entries(late.contextId)]).toEqual(expected);
    await set(late.contextId, 'again');
    await expectVerified(late.contextId);
  });

  test('works when its parent is deleted, and can be deleted itself', async () => {
    const parent = await openWith(4);
    const { contextId } = await fork(parent, 4);
    expect(await client.deleteContext(parent)).toBe(true);
    await node.stop();
    node = await startTestNode({ database: node.database, executor: { snapshotEvery: 5 } });
    client = node.client;

    await set(contextId, 'after');
    expect(await entries(contextId)).toEqual({ ...keysUpTo(3), after: 'after' });
    const { transactions } = await client.admin<{ transactions: { contextId: string }[] }>(
      `${base(contextId)}/log`,
    );
    expect(transactions.map((each) => each.contextId === parent)).toEqual([
      ...Array(4).fill(true),
      ...Array(2).fill(false),
    ]);
    const again = await fork(contextId, 2);
    expect(await entries(again.contextId)).toEqual(keysUpTo(1));
    expect(await client.deleteContext(contextId)).toBe(true);
    expect((await client.post(`${base(contextId)}/fork`, {})).status).toBe(404);
    expect(await entries(again.contextId)).toEqual(keysUpTo(1));
  });

  test('knows no request id of its parent', async () => {
    const parent = await client.createContext(kvStore);
    const once = (id: string, value: string) =>
      client.mutate(id, 'set', { key: 'a', value }, { requestId: 'once' });
    const first = await once(parent, 'parent');
    const { contextId } = await fork(parent);

    const other = await once(contextId, 'fork');
    expect(other.result?.sequence).toBe('4');
    expect((await once(contextId, 'fork')).result?.hash).toBe(other.result?.hash);
    expect((await once(parent, 'parent')).result?.hash).toBe(first.result?.hash);
    expect(await entries(contextId)).toEqual({ a: 'fork' });
  });

  test('has one member, whose key is new', async () => {
    const parent = await openWith(1);
    const { contextId, memberPublicKey } = await fork(parent);
    const identities = async (id: string) =>
      (await client.admin<{ identities: string[] }>(`${base(id)}/identities`)).identities;

    expect(await identities(contextId)).toEqual([memberPublicKey]);
    const [member] = await identities(parent);
    expect(member).not.toBe(memberPublicKey);
    const stranger = await client.mutate(
      contextId,
      'set',
      { key: 'a', value: 'b' },
      { executorPublicKey: member ?? '' },
    );
    expect(stranger.error).toBeDefined();
    const capable = { signer_id: memberPublicKey, capabilities: [] };
    expect((await client.post(`${base(contextId)}/capabilities/grant`, capable)).status).toBe(200);
  });

  test('made while its parent is written to has exactly what it says', async () => {
    const parent = await openWith(3);
    const writing = Promise.all(Array.from({ length: 60 }, (_, i) => set(parent, `k${i + 3}`)));
    const forks = await Promise.all(Array.from({ length: 5 }, () => fork(parent)));
    await writing;

    const parentLog = seals(await logOf(parent));
    for (const { contextId, forkedFrom } of forks) {
      const at = Number(forkedFrom.sequence);
      const log = await logOf(contextId);
      expect(log).toHaveLength(at + 1);
      expect(seals(log).slice(0, at)).toEqual(parentLog.slice(0, at));
      expect(Object.keys((await entries(contextId)) as object)).toHaveLength(at - 1);
    }
  });
});

describe('looking back through where it began', () => {
  test('the log, the state, differences and the history of a key are one', async () => {
    const parent = await openWith(12);
    const { contextId } = await fork(parent, 9);
    for (let i = 0; i < 9; i += 1) await set(contextId, `k${i}`, `fork${i}`);
    const log = await logOf(contextId);
    const get = <T>(look: string) => client.admin<T>(`${base(contextId)}/${look}`);

    for (const order of ['oldest', 'newest']) {
      const all: { hash: string }[] = [];
      for (let from = order === 'oldest' ? '1' : '19'; ; ) {
        const { transactions, next } = await get<{
          transactions: { hash: string }[];
          next: string | null;
        }>(`log?from=${from}&limit=4&order=${order}`);
        all.push(...transactions);
        if (next === null) break;
        from = next;
      }
      const expected = log.map(({ hash }) => hash);
      expect(all.map(({ hash }) => hash)).toEqual(
        order === 'oldest' ? expected : expected.toReversed(),
      );
    }
    const model = new Map<string, string>();
    for (const [i, { changes }] of log.entries()) {
      for (const { key, value } of changes) {
        if (value !== null) model.set(hex(key), Buffer.from(value).toString('base64'));
      }
      const { entries: all } = await get<{ entries: { key: string; value: { base64: string } }[] }>(
        `state?at=${i + 1}`,
      );
      expect(new Map(all.map(({ key, value }) => [key, value.base64]))).toEqual(model);
    }
    const { differences } = await get<{ differences: { kind: string }[] }>('diff?from=8&to=12');
    // One key more that the parent added, and its place; two that the fork changed.
    expect(differences.map(({ kind }) => kind).toSorted()).toEqual([
      'added',
      'added',
      'changed',
      'changed',
      'changed',
    ]);
    const slot = log[1]?.changes.find(({ value }) => Buffer.from(value ?? []).includes('k0'))?.key;
    const { changes } = await get<{
      changes: { sequence: string; contextId: string; old: unknown }[];
    }>(`history?key=${hex(slot ?? new Uint8Array())}`);
    expect(changes).toMatchObject([
      { sequence: '11', contextId },
      { sequence: '2', contextId: parent, old: null },
    ]);
    expect(changes[0]?.old).not.toBeNull();
  });
});

describe('subscribing to a fork', () => {
  test('goes through where it began, from any position, checked by the hash that stands there', async () => {
    const parent = await openWith(6);
    const { contextId } = await fork(parent, 5);
    await set(contextId, 'f');
    const log = await logOf(contextId);
    const hashes = log.map(({ hash }) => hash);
    for (const since of [
      { sequence: '0' },
      { sequence: '3', hash: hashes[2] },
      { sequence: '5', hash: hashes[4] },
      { sequence: '6', hash: hashes[5] },
    ]) {
      const expected = hashes.slice(Number(since.sequence));
      await using ws = await WsClient.connect(node.url, client.token);
      expect((await ws.subscribe([contextId], { [contextId]: since })).error).toBeUndefined();
      const seen = () =>
        ws
          .events('TransactionExecuted', contextId)
          .map(({ data }) => (data as { hash: string }).hash);
      await eventually(() => seen().length >= expected.length);
      expect(seen()).toEqual(expected);
      const live = await set(contextId, 'live');
      await eventually(() => seen().includes(live.result?.hash ?? ''));
      hashes.push((live.result?.hash ?? '') as (typeof hashes)[number]);
      expect(ws.events('TransactionExecuted', parent)).toEqual([]);
    }
    await using ws = await WsClient.connect(node.url, client.token);
    const parentLog = await logOf(parent);
    // Both have a sequence 6, and it is not the same.
    const elsewhere = { sequence: '6', hash: parentLog[5]?.hash };
    const refused = await ws.subscribe([contextId], { [contextId]: elsewhere });
    expect(refused.error?.type).toBe('ResyncRequired');
  });

  test('begins with the fork for who waited for it', async () => {
    const parent = await openWith(2);
    const seed = randomBytes(32);
    const probe = await fork(parent, 1, { contextSeed: encodeId(randomBytes(32)) });
    expect(probe.forkedFrom.sequence).toBe('1');
    const contextSeed = encodeId(seed);
    const { contextId } = await fork(parent, 2, { contextSeed });
    const conflict = await client.post(`${base(parent)}/fork`, { contextSeed });
    expect([conflict.status, await conflict.json()]).toEqual([
      409,
      { error: 'Context already exists on node.' },
    ]);
    await using ws = await WsClient.connect(node.url, client.token);
    await ws.subscribe([contextId]);
    const answer = await set(contextId, 'x');
    await eventually(() => ws.events('TransactionExecuted', contextId).length === 1);
    expect(ws.events('TransactionExecuted', contextId)[0]?.['sequence']).toBe(
      answer.result?.sequence,
    );
  });
});

describe('applications', () => {
  test('are those of the sequence that it began at, and what the guest sees is its own id', async () => {
    const parent = await openWith(2);
    await upgrade(parent, second);
    await client.mutate(parent, 'stamp', {});
    const committed = (await logOf(parent)).at(-1)?.rootHash ?? new Uint8Array();
    await client.mutate(parent, 'stamp', {});
    const before = await fork(parent, 3);
    const at = await fork(parent, 4);
    const after = await fork(parent, 5);

    expect(await entries(before.contextId)).toEqual(keysUpTo(2));
    expect((await client.query(at.contextId, 'version')).result?.output).toBe(2);
    expect((await client.query(before.contextId, 'version')).error).toBeDefined();
    const shown = (id: string) => client.admin(base(id));
    expect(await shown(before.contextId)).toMatchObject({ applicationId: kvStore });
    expect(await shown(at.contextId)).toMatchObject({ applicationId: second });
    // What the guest committed last by then, not at all, or later.
    expect((await shown(after.contextId))['rootHash']).toBe(encodeBase58(committed));
    expect((await shown(at.contextId))['rootHash']).toBe((await logOf(at.contextId)).at(-1)?.hash);

    await client.mutate(after.contextId, 'stamp', {});
    await upgrade(before.contextId, second);
    await client.mutate(before.contextId, 'stamp', {});
    for (const { contextId } of [before, at, after]) {
      await expectVerified(contextId);
    }
    const stamped = (log: readonly Transaction[]) =>
      encodeId(
        log.findLast(({ changes }) => changes.length > 0)?.changes[0]?.value ?? new Uint8Array(),
      );
    expect(stamped(await logOf(after.contextId))).toBe(after.contextId);
    expect(stamped(await logOf(parent))).toBe(parent);
  });

  test('of its log stay installed, its parent deleted or not', async () => {
    const [one, two, three] = await Promise.all(
      [11, 12, 13].map((pages) =>
        client.install(assemble(`(module (memory (export "memory") ${pages}))`)),
      ),
    );
    if (one === undefined || two === undefined || three === undefined) throw new Error('installed');
    const parent = await client.createContext(one);
    await upgrade(parent, two);
    await upgrade(parent, three);
    const first = await fork(parent, 1);
    const middle = await fork(parent, 2);
    const nested = await fork(middle.contextId);
    await client.deleteContext(parent);

    // Nobody is at the third any more, nor came by it.
    expect(await uninstall(three)).toBe(200);
    expect([await uninstall(one), await uninstall(two)]).toEqual([409, 409]);
    await client.deleteContext(first.contextId);
    await client.deleteContext(middle.contextId);
    expect([await uninstall(one), await uninstall(two)]).toEqual([409, 409]);
    await client.deleteContext(nested.contextId);
    expect([await uninstall(one), await uninstall(two)]).toEqual([200, 200]);
  });
});

test('what cannot be forked is refused with a reason', async () => {
  const parent = await openWith(2);
  const deleted = await client.createContext(kvStore);
  await client.deleteContext(deleted);
  const count = async () =>
    (await client.admin<{ contexts: unknown[] }>('/admin-api/contexts')).contexts.length;
  const before = await count();
  for (const [id, body, status, reason] of [
    [parent, { sequence: '4' }, 400, 'the context has sequences 1 to 3, not 4'],
    [parent, { sequence: '0' }, 422, 'sequence: '],
    [parent, { sequence: '-1' }, 422, 'sequence: '],
    [parent, { sequence: 2 }, 422, 'sequence: '],
    [parent, { sequence: '9999999999999999999' }, 400, 'the context has sequences 1 to 3'],
    [parent, { sequence: '10000000000000000000' }, 422, 'sequence: '],
    [parent, { contextSeed: 'x' }, 422, 'contextSeed: '],
    [deleted, {}, 404, 'Context not found'],
    ['1'.repeat(32), {}, 404, 'Context not found'],
    ['x', {}, 400, 'Invalid context id'],
  ] as const) {
    const response = await client.post(`${base(id)}/fork`, body);
    expect([response.status, await response.text()]).toEqual([
      status,
      expect.stringContaining(reason),
    ]);
  }
  expect(await count()).toBe(before);
});

test('a fork can be so deep, and no deeper', async () => {
  let contextId = await openWith(1);
  for (let depth = 1; depth <= 32; depth += 1) contextId = (await fork(contextId)).contextId;
  await set(contextId, 'deep');

  expect(await entries(contextId)).toEqual({ k0: 'k0', deep: 'deep' });
  await expectVerified(contextId);
  const refused = await client.post(`${base(contextId)}/fork`, {});
  expect([refused.status, await refused.json()]).toEqual([
    409,
    { error: 'a fork can have 32 contexts above it at most' },
  ]);
});

test('a log that begins as another one than its fork says is told from it', async () => {
  const parent = await openWith(4);
  const { contextId } = await fork(parent, 3);
  await using database = openTestDatabase(node.database.ownerUrl);
  const other = await openWith(4);
  await sql`UPDATE contexts SET parent_context =
    (SELECT context FROM contexts WHERE context_id = ${Buffer.from(decodeId(other))})
    WHERE context_id = ${Buffer.from(decodeId(contextId))}`.execute(database.kysely);

  expect(await verify(contextId)).toMatchObject({
    outcome: 'diverged',
    divergence: { sequence: '4', kind: 'fork' },
  });
});

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
