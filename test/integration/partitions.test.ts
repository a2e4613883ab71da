import pg from 'pg';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { Database } from '#shared/store/database.ts';
import { acquireLeases, readCluster } from '#shared/store/leases.ts';
import type { ExecutorConfig } from '../../services/rpc-executor/config.ts';
import { eventually } from '../support/eventually.ts';
import { startTestExecutor, type TestExecutor } from '../support/executor.ts';
import { createTestDatabase, type TestDatabase } from '../support/infra.ts';
import { openTestDatabase, readLog } from '../support/log.ts';
import { startTestNode } from '../support/node.ts';

/** Nothing happens at a renewal or an expiry within a test: only notices can be what moved it. */
const LASTING = { leaseValidMs: 600_000, leaseRenewMs: 300_000 };

const WAIT = { timeout: 20_000, interval: 10 };

let stack: AsyncDisposableStack;
let database: TestDatabase;
let reader: Database;
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  database = stack.use(await createTestDatabase());
  reader = stack.use(openTestDatabase(database.serviceUrl));
});
afterEach(() => stack.disposeAsync());

async function start(
  owner: string,
  config: Partial<Omit<ExecutorConfig, 'owner'>> = {},
): Promise<TestExecutor> {
  return stack.use(await startTestExecutor(database, { owner, ...config }));
}

/** Partitions by owner, as others see it. */
async function shares(): Promise<Record<string, number>> {
  const { partitions } = await readCluster(reader);
  const counts: Record<string, number> = {};
  for (const { owner } of partitions) counts[owner ?? '-'] = (counts[owner ?? '-'] ?? 0) + 1;
  return counts;
}

async function becomes(expected: Record<string, number>): Promise<void> {
  await vi.waitFor(async () => expect(await shares()).toEqual(expected), WAIT);
}

describe('executors that come and go', () => {
  test('share the partitions evenly, at once and not when leases are renewed', async () => {
    const first = await start('a', LASTING);
    await becomes({ a: 64 });
    const second = await start('b', LASTING);
    await becomes({ a: 32, b: 32 });
    await start('c', LASTING);
    await becomes({ a: 22, b: 22, c: 20 });
    expect(await first.figure('cairn_executor_partitions_share')).toBe(22);

    await second.stop();
    await becomes({ a: 32, c: 32 });
    await first.stop();
    await becomes({ c: 64 });
  });

  test('move nothing more once everybody has a share', async () => {
    await start('a', { leaseValidMs: 400, leaseRenewMs: 40 });
    await start('b', { leaseValidMs: 400, leaseRenewMs: 40 });
    await start('c', { leaseValidMs: 400, leaseRenewMs: 40 });
    await vi.waitFor(
      async () =>
        expect(Object.values(await shares()).toSorted((a, b) => a - b)).toEqual([20, 22, 22]),
      WAIT,
    );
    const epochs = async () =>
      (await readCluster(reader)).partitions.map(({ owner, epoch }) => `${owner} ${epoch}`);
    const expiry = async () =>
      Math.min(...(await readCluster(reader)).partitions.map(({ expiresAt }) => Number(expiresAt)));

    const before = await epochs();
    const from = await expiry();
    await eventually(async () => (await expiry()) > from + 1_000);

    expect(await epochs()).toEqual(before);
  });

  test('take over what an executor held that is gone, when its leases have ended', async () => {
    await acquireLeases(reader, {
      owner: 'gone',
      validMs: 1_500,
      exceptPartitions: Array.from({ length: 24 }, (_, i) => i),
    });
    const renewedLate = { leaseValidMs: 600_000, leaseRenewMs: 30_000 };
    await start('a', renewedLate);
    expect(await shares()).toEqual({ a: 24, gone: 40 });

    await becomes({ a: 64 });
  });

  test('leave a partition that is locked for later, and unlock it when its holder sleeps', async () => {
    const sleeper = new pg.Client({ connectionString: database.serviceUrl });
    sleeper.on('error', () => undefined);
    await sleeper.connect();
    await sleeper.query('BEGIN; SELECT 1 FROM partitions WHERE partition = 7 FOR KEY SHARE');

    await start('a', { leaseValidMs: 400, leaseRenewMs: 40 });

    expect(await shares()).toEqual({ a: 63, '-': 1 });
    await becomes({ a: 64 });
    await sleeper.end().catch(() => undefined);
  });

  test('are listed with what they own', async () => {
    await start('a', LASTING);
    const node = stack.use(await startTestNode({ database, executor: LASTING, nodeName: 'b' }));
    await becomes({ a: 32, b: 32 });

    const cluster = await node.client.admin<{
      executors: { owner: string; partitions: number; expiresAt: number }[];
      partitions: { partition: number; owner: string; epoch: string; expiresAt: number }[];
    }>('/admin-api/cluster');

    expect(cluster.executors).toMatchObject([
      { owner: 'a', partitions: 32 },
      { owner: 'b', partitions: 32 },
    ]);
    expect(cluster.partitions.map(({ partition }) => partition)).toEqual(
      Array.from({ length: 64 }, (_, i) => i),
    );
    for (const { owner, epoch, expiresAt } of cluster.partitions) {
      expect(epoch).toBe(owner === 'a' ? '1' : '2');
      expect(expiresAt).toBeGreaterThan(0);
    }
  });
});

test('a commit that outlives the hand-over of its partition is answered, and not done again', async () => {
  const lease = { leaseValidMs: 300, leaseRenewMs: 100 };
  const node = await startTestNode({ database, nodeName: 'node' });
  const contextId = await node.client.open('kv-store');
  await node.stop();
  const owner = new pg.Client({ connectionString: database.ownerUrl });
  await owner.connect();
  await owner.query(`
    CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END';
    CREATE CONSTRAINT TRIGGER hold AFTER UPDATE ON contexts DEFERRABLE INITIALLY DEFERRED
      FOR EACH ROW EXECUTE FUNCTION hold();
    SELECT pg_advisory_lock(1)`);
  const first = await start('a', lease);
  const underWay = first.client.mutate(contextId, 'set', { key: 'a', value: 'b' });
  await eventually(async () => {
    const { rows } = await owner.query(
      `SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`,
    );
    return rows.length > 0;
  });
  await start('b', lease);

  const stopping = first.stop();
  await eventually(async () => (await first.figure('cairn_executor_lanes')) === 0);
  await owner.query('SELECT pg_advisory_unlock(1)');
  await owner.end();

  expect((await underWay).result?.sequence).toBe('2');
  await stopping;
  expect(await readLog(database.serviceUrl, contextId)).toHaveLength(2);
});
