import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { afterEach, describe, expect, test } from 'vitest';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import { oddGuest } from '../guests/odd-guest.ts';
import type { Client, RpcAnswer } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startTestExecutor } from '../support/executor.ts';
import { appendBehindTheOwner, readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { assemble } from '../support/wat.ts';

let stack = new AsyncDisposableStack();
afterEach(async () => {
  const finished = stack;
  stack = new AsyncDisposableStack();
  await finished.disposeAsync();
});

async function start(options: Parameters<typeof startTestNode>[0] = {}): Promise<TestNode> {
  return stack.use(await startTestNode(options));
}

/** A connection of the owner of the tables, to break things with. */
async function connectOwner({ database }: TestNode): Promise<pg.Client> {
  const owner = new pg.Client({ connectionString: database.ownerUrl });
  await owner.connect();
  stack.defer(() => owner.end());
  return owner;
}

const set = (client: Client, contextId: string, key: string, requestId?: string) =>
  client.mutate(
    contextId,
    'set',
    { key, value: key },
    requestId === undefined ? {} : { requestId },
  );

describe('replies and commits', () => {
  test('neither a mutation nor a query that saw it is answered before the commit', async () => {
    const node = await start();
    const { client } = node;
    const contextId = await client.open('kv-store');
    const owner = await connectOwner(node);
    await owner.query('BEGIN; LOCK TABLE transactions IN SHARE ROW EXCLUSIVE MODE');

    const answered: string[] = [];
    const mutation = set(client, contextId, 'a').then(() => answered.push('mutation'));
    await eventually(async () => {
      const { rows } = await owner.query(
        `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
      );
      return rows.length > 0;
    });
    const query = client.query(contextId, 'get', { key: 'a' }).then((answer) => {
      answered.push('query');
      return answer;
    });
    await client.admin('/admin-api/applications');
    expect(answered).toEqual([]);
    await owner.query('COMMIT');

    expect((await query).result?.output).toBe('a');
    await mutation;
    expect(answered).toEqual(['mutation', 'query']);
  });

  test('what is answered survives the loss of every database connection, exactly once', async () => {
    const node = await start();
    const { client } = node;
    const contexts = await Promise.all([1, 2, 3, 4].map(() => client.open('kv-store')));
    const owner = await connectOwner(node);

    const answers: { readonly contextId: string; readonly answer: RpcAnswer }[] = [];
    const writing = contexts.map(async (contextId) => {
      for (let i = 0; i < 60; i += 1) {
        answers.push({
          contextId,
          answer: await set(client, contextId, `k${i}`, `${contextId}-${i}`),
        });
      }
    });
    for (let round = 1; round <= 5; round += 1) {
      await eventually(() => answers.length >= round * 30);
      await owner.query(
        `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE usename LIKE '%\\_service' AND datname = current_database()`,
      );
    }
    await Promise.all(writing);

    for (const contextId of contexts) {
      const log = await readLog(node.database.serviceUrl, contextId);
      expect(log.map(({ sequence }) => Number(sequence))).toEqual(log.map((_, i) => i + 1));
      const ids = log.flatMap(({ requestId }) => requestId ?? []);
      expect(new Set(ids).size).toBe(ids.length);
      const hashes = new Set<string>(log.map(({ hash }) => hash));
      const acknowledged = answers.filter((entry) => entry.contextId === contextId);
      expect(acknowledged).toHaveLength(60);
      for (const { answer } of acknowledged) {
        expect(hashes.has(answer.result?.hash ?? '')).toBe(true);
      }
    }
  });

  test('a lane that ran ahead of a lost race starts over from the log', async () => {
    const node = await start();
    const { client } = node;
    const contextId = await client.open('kv-store');
    await set(client, contextId, 'before');

    await appendBehindTheOwner(node.database, contextId);
    const answers = await Promise.all(['a', 'b', 'c'].map((key) => set(client, contextId, key)));

    expect(answers.map(({ result }) => result?.sequence)).toEqual(['4', '5', '6']);
    expect((await client.query(contextId, 'len')).result?.output).toBe(4);
  });
});

describe('leases', () => {
  test('an owner that was overtaken writes nothing, and the caller is served once it may again', async () => {
    const node = await start({ executor: { leaseValidMs: 6_000, leaseRenewMs: 2_000 } });
    const { client } = node;
    const contextId = await client.open('kv-store');
    await set(client, contextId, 'before');
    const owner = await connectOwner(node);
    await owner.query(
      `UPDATE partitions SET owner = 'other', epoch = epoch + 1,
         expires_at = clock_timestamp() + interval '300 milliseconds'`,
    );

    const { result } = await set(client, contextId, 'after');

    expect(result?.sequence).toBe('3');
    const { rows } = await owner.query<{ owner: string }>('SELECT DISTINCT owner FROM partitions');
    expect(rows).toEqual([{ owner: 'test' }]);
  });

  test('queries of an owner that cannot renew its lease are refused, not answered with old state', async () => {
    const node = await start({
      executor: { leaseValidMs: 300, leaseRenewMs: 100, requestTimeoutMs: 1_500 },
    });
    const { client } = node;
    const contextId = await client.open('kv-store');
    const owner = await connectOwner(node);
    await owner.query('BEGIN; LOCK TABLE partitions IN ACCESS EXCLUSIVE MODE');

    const refused = await eventually(async () => {
      const { error } = await client.query(contextId, 'len');
      return error;
    });

    expect(refused).toMatchObject({ type: 'InternalError', data: { retryable: true } });
    await owner.query('COMMIT');
    await eventually(async () => (await client.query(contextId, 'len')).result);
  });

  test('a second executor forwards to the owner, and takes over when the owner stops', async () => {
    const node = await start();
    const contextId = await node.client.open('kv-store');
    const { client: second } = stack.use(
      await startTestExecutor(node.database, { owner: 'second' }),
    );

    const forwarded = await set(second, contextId, 'a');
    expect(forwarded.result?.sequence).toBe('2');
    expect((await second.query(contextId, 'get', { key: 'a' })).result?.output).toBe('a');
    const refused = await second.query(contextId, 'nope');
    expect(refused.error?.data).toBe('method "nope" not found');

    const writes = Array.from({ length: 30 }, (_, i) => set(second, contextId, `k${i}`, `r${i}`));
    await node.stop();
    const answers = await Promise.all(writes);

    for (const { error } of answers) expect(error).toBeUndefined();
    const log = await readLog(node.database.serviceUrl, contextId);
    expect(log).toHaveLength(32);
  });
});

describe('state', () => {
  test('is the same after a restart, from a snapshot and the diffs after it', async () => {
    const first = await start({ executor: { snapshotEvery: 10 } });
    const contextId = await first.client.open('kv-store');
    for (let i = 0; i < 25; i += 1) await set(first.client, contextId, `k${i % 7}`);
    await first.client.mutate(contextId, 'remove', { key: 'k3' });
    const owner = await connectOwner(first);
    await eventually(async () => (await owner.query('SELECT 1 FROM snapshots')).rows.length > 0);
    const before = await first.client.query(contextId, 'entries');
    await first.stop();

    const second = await start({ database: first.database, executor: { snapshotEvery: 10 } });

    expect(await second.client.query(contextId, 'entries')).toEqual(before);
  });

  test('a snapshot that cannot be written costs nothing', async () => {
    const node = await start({ executor: { snapshotEvery: 5 } });
    const contextId = await node.client.open('kv-store');
    const owner = await connectOwner(node);
    await owner.query('ALTER TABLE snapshots RENAME TO hidden');
    for (let i = 0; i < 12; i += 1) await set(node.client, contextId, `k${i}`);
    await owner.query('ALTER TABLE hidden RENAME TO snapshots');

    for (let i = 12; i < 24; i += 1) await set(node.client, contextId, `k${i}`);
    await eventually(async () => (await owner.query('SELECT 1 FROM snapshots')).rows.length > 0);
    expect((await node.client.query(contextId, 'len')).result?.output).toBe(24);
  });

  test('a snapshot that the log does not confirm is not used', async () => {
    const first = await start({ executor: { snapshotEvery: 5 } });
    const contextId = await first.client.open('kv-store');
    for (let i = 0; i < 12; i += 1) await set(first.client, contextId, `k${i}`);
    const owner = await connectOwner(first);
    await eventually(async () => (await owner.query('SELECT 1 FROM snapshots')).rows.length > 0);
    await first.stop();
    await owner.query(`UPDATE snapshots SET seal = sha256('forged')`);

    const second = await start({ database: first.database });

    expect((await second.client.query(contextId, 'len')).result?.output).toBe(12);
  });

  test('contexts over the memory budget come and go without losing anything', async () => {
    const node = await start({ executor: { stateBytesMax: 60_000 } });
    const { client } = node;
    const contexts = await Promise.all(Array.from({ length: 6 }, () => client.open('kv-store')));
    const value = 'x'.repeat(1_000);

    for (let round = 0; round < 3; round += 1) {
      for (const contextId of contexts) {
        await client.mutate(contextId, 'set', { key: `r${round}`, value });
      }
    }

    await eventually(async () => {
      const metrics = await (await fetch(`${node.internalUrl}/metrics`)).text();
      return Number(/cairn_executor_lanes (\d+)/.exec(metrics)?.[1]) < 4;
    });
    for (const contextId of contexts) {
      expect((await client.query(contextId, 'len')).result?.output).toBe(3);
    }
  });
});

describe('request ids', () => {
  test('are known after a restart', async () => {
    const first = await start();
    const contextId = await first.client.open('kv-store');
    const before = await set(first.client, contextId, 'a', 'once');
    await first.stop();

    const second = await start({ database: first.database });
    const after = await Promise.all(
      [1, 2, 3].map(() => set(second.client, contextId, 'a', 'once')),
    );

    for (const answer of after) expect(answer).toEqual(before);
    expect(await readLog(first.database.serviceUrl, contextId)).toHaveLength(2);
  });

  test('are known however long ago they were, also to a call that would append nothing', async () => {
    const first = await start();
    const contextId = await first.client.open('kv-store');
    const before = await set(first.client, contextId, 'a', 'long ago');
    const read = await first.client.execute(
      contextId,
      'set',
      { key: 'b', value: 'b' },
      { requestId: 'before that' },
    );
    const later = Array.from({ length: 1_100 }, (_, i) => set(first.client, contextId, `k${i}`));
    await Promise.all(later);
    await first.stop();

    const { client } = await start({ database: first.database });
    const [again, other, reading] = await Promise.all([
      set(client, contextId, 'a', 'long ago'),
      set(client, contextId, 'c'),
      client.execute(contextId, 'set', { key: 'b', value: 'b' }, { requestId: 'before that' }),
    ]);

    expect(again).toEqual(before);
    expect(reading).toEqual(read);
    expect(other.result?.sequence).toBe('1104');
    expect(await readLog(first.database.serviceUrl, contextId)).toHaveLength(1_104);
  });
});

describe('deleting a context', () => {
  test('ends its log, whatever is under way: what was acknowledged comes before the tombstone', async () => {
    const node = await start();
    const { client } = node;
    for (let round = 0; round < 5; round += 1) {
      const contextId = await client.open('kv-store');
      const before = Array.from({ length: 10 }, (_, i) => set(client, contextId, `a${i}`));
      const deleting = client.deleteContext(contextId);
      const after = Array.from({ length: 60 }, (_, i) => set(client, contextId, `b${i}`));

      expect(await deleting).toBe(true);
      const answers = await Promise.all([...before, ...after]);

      const log = await readLog(node.database.serviceUrl, contextId);
      expect(log.at(-1)?.kind).toBe('delete');
      const acknowledged = answers.flatMap(({ result }) => result?.sequence ?? []);
      expect(log).toHaveLength(acknowledged.length + 2);
      for (const { error } of answers.filter(({ result }) => result === undefined)) {
        expect(error?.data).toMatchObject({ type: 'ContextNotFound' });
      }
      await expect(client.admin(`/admin-api/contexts/${contextId}`)).rejects.toThrow('404');
      expect(await client.deleteContext(contextId)).toBe(false);
    }
  });
});

describe('creating a context', () => {
  test('by many at once from one seed makes one, which works', async () => {
    const { client } = await start();
    const applicationId = await client.install('kv-store');
    const neighbour = await client.createContext(applicationId);
    for (let round = 0; round < 10; round += 1) {
      const contextSeed = encodeBase58(randomBytes(32));
      const create = () =>
        client.admin<{ contextId: string }>('/admin-api/contexts', { applicationId, contextSeed });

      const results = await Promise.allSettled(Array.from({ length: 20 }, create));
      const made = results.flatMap((result) =>
        result.status === 'fulfilled' ? result.value.contextId : [],
      );

      expect(made).toHaveLength(1);
      expect((await set(client, made[0] ?? '', 'a')).error).toBeUndefined();
      expect((await set(client, neighbour, 'a')).error).toBeUndefined();
    }
  });
});

describe('a guest that writes too much, or what Postgres cannot hold', () => {
  const guest = assemble(`(module
    (import "env" "storage_write" (func $write (param i64 i64 i64 i64 i64) (result i32)))
    (import "env" "panic_utf8" (func $panic (param i64 i64 i64 i64 i32 i32)))
    (import "env" "value_return" (func $return (param i64 i64 i64)))
    (memory (export "memory") 200)
    (data (i32.const 0) "a\\00b")
    (data (i32.const 8) "1")
    (func (export "ok") (call $return (i64.const 0) (i64.const 8) (i64.const 1)))
    (func (export "poison")
      (call $panic (i64.const 0) (i64.const 3) (i64.const 0) (i64.const 1) (i32.const 1) (i32.const 1)))
    (func (export "flood") (local $i i32)
      (loop $again
        (i32.store (i32.const 16) (local.get $i))
        (drop (call $write (i64.const 16) (i64.const 4) (i64.const 64) (i64.const 10485760) (i64.const 1)))
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 9)))))
  )`);

  test('fails, leaves a failed transaction, and harms no neighbour', async () => {
    const node = await start();
    const { client } = node;
    const contextId = await client.open(guest);

    const methods = Array.from({ length: 20 }, (_, i) => (i === 7 ? 'poison' : 'ok'));
    const answers = await Promise.all(
      methods.map((method) => client.mutate(contextId, method, {})),
    );
    const flood = await client.mutate(contextId, 'flood', {});

    expect(answers.filter(({ error }) => error === undefined)).toHaveLength(19);
    expect(answers[7]?.error).toEqual({
      type: 'FunctionCallError',
      data: 'guest panicked: a\uFFFDb at a:1:1',
    });
    expect(flood.error).toEqual({ type: 'FunctionCallError', data: 'writes overflow' });
    expect(await readLog(node.database.serviceUrl, contextId)).toHaveLength(22);
  });
});

describe('overload', () => {
  test('is answered early, and nothing of it is in the log', async () => {
    const node = await start({ executor: { laneQueueMax: 5 } });
    const contextId = await node.client.open('kv-store');

    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => set(node.client, contextId, `k${i}`)),
    );

    const refused = answers.filter(({ error }) => error !== undefined);
    expect(refused.length).toBeGreaterThan(0);
    for (const { error } of refused) {
      expect(error).toEqual({
        type: 'InternalError',
        data: { retryable: true, reason: 'the context has too many requests waiting' },
      });
    }
    expect(await readLog(node.database.serviceUrl, contextId)).toHaveLength(41 - refused.length);
  });
});

describe('a worker that is killed', () => {
  test('costs the guest that looped its call, and the others nothing', async () => {
    const node = await start({ executor: { workers: 1, wallClockMs: 300 } });
    const { client } = node;
    const odd = await client.open(assemble(oddGuest(1)));
    const others = await Promise.all([1, 2, 3].map(() => client.open('kv-store')));

    const spinning = [client.mutate(odd, 'spin', {}), client.query(odd, 'spin')];
    const writes = others.flatMap((contextId) =>
      [1, 2].map((i) => set(client, contextId, `k${i}`)),
    );

    const reasons = (await Promise.all(spinning)).map(({ error }) => error?.data);
    expect(reasons).toEqual([
      { retryable: true, reason: 'execution took longer than 300 ms' },
      { retryable: true, reason: 'a call of this context took too long, try again later' },
    ]);
    for (const answer of await Promise.all(writes)) expect(answer.error).toBeUndefined();
    expect(await readLog(node.database.serviceUrl, odd)).toHaveLength(1);
  });

  test('an init that never ends is reported and leaves no context', async () => {
    const node = await start({ executor: { wallClockMs: 300 } });
    const spinning = assemble(
      '(module (memory (export "memory") 1) (func (export "init") (loop $again (br $again))))',
    );
    const applicationId = await node.client.install(spinning);

    await expect(node.client.createContext(applicationId)).rejects.toThrow(
      '504 {"error":"execution took longer than 300 ms"}',
    );
    expect(await node.client.admin('/admin-api/contexts')).toEqual({ contexts: [] });
  });
});
