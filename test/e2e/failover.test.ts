import pg from 'pg';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Client } from '../support/client.ts';
import { TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { readLog } from '../support/log.ts';
import type { ServiceProcess } from '../support/service-process.ts';
import { Writers } from '../support/writers.ts';

const CONTEXTS = 12;
const WAIT = { timeout: 30_000, interval: 20 };
/** Shorter than the defaults, for the test to be short. */
const SETTINGS = {
  CAIRN_RPC_EXECUTOR__LEASE_VALID_MS: '1000',
  CAIRN_RPC_EXECUTOR__LEASE_RENEW_MS: '300',
  CAIRN_RPC_EXECUTOR__REQUEST_TIMEOUT_MS: '10000',
};

let cluster: TestCluster;
let contexts: string[];
beforeEach(async () => {
  cluster = await TestCluster.start({ executors: 0, fanouts: 0, settings: SETTINGS });
  await addExecutor('a');
  await addExecutor('b');
  contexts = await Promise.all(Array.from({ length: CONTEXTS }, () => cluster.open('kv-store')));
  await owners({ a: 32, b: 32 });
});
afterEach(() => cluster[Symbol.asyncDispose]());

function addExecutor(owner: string): Promise<ServiceProcess> {
  return cluster.add('rpc-executor', { CAIRN_RPC_EXECUTOR__OWNER: owner });
}

async function owners(expected: Record<string, number>): Promise<void> {
  await vi.waitFor(async () => {
    const { executors } = await cluster.client.admin<{
      executors: { owner: string; partitions: number }[];
    }>('/admin-api/cluster');
    const counts = executors.map(({ owner, partitions }) => [owner, partitions]);
    expect(Object.fromEntries(counts)).toEqual(expected);
  }, WAIT);
}

function executor(index: number): ServiceProcess {
  const found = cluster.all('rpc-executor')[index];
  if (found === undefined) throw new Error('there is no such executor');
  return found;
}

async function progress(writers: Writers): Promise<void> {
  const before = writers.acknowledged;
  await eventually(() => writers.acknowledged >= before + 10 * CONTEXTS);
}

test('executors join and leave under load, and nobody but the clock notices', async () => {
  const writers = new Writers(cluster.client, contexts);
  await progress(writers);

  const third = await addExecutor('c');
  await owners({ a: 22, b: 22, c: 20 });
  await progress(writers);
  expect(await executor(0).end()).toBe(0);
  await owners({ b: 32, c: 32 });
  await progress(writers);
  expect(await third.end()).toBe(0);
  await owners({ b: 64 });
  await progress(writers);

  const { refusals } = await writers.stop();
  expect(refusals).toEqual([]);
  await writers.check(cluster.database);
});

test('an executor that is killed is replaced, and what it acknowledged is there', async () => {
  const writers = new Writers(cluster.client, contexts);
  await progress(writers);

  expect(await executor(0).end('SIGKILL')).toBe('SIGKILL');

  await owners({ b: 64 });
  await progress(writers);
  await writers.stop();
  await writers.check(cluster.database);
});

test('an executor that is paused, and continued after it was replaced, commits nothing late', async () => {
  const [paused, other] = [executor(0), executor(1)];
  const writers = new Writers(cluster.client, contexts);
  await progress(writers);
  const owner = new pg.Client({ connectionString: cluster.database.ownerUrl });
  await owner.connect();
  await owner.query('BEGIN; LOCK TABLE transactions IN SHARE ROW EXCLUSIVE MODE');
  await eventually(async () => {
    const { rows } = await owner.query<{ waiting: string }>(
      `SELECT count(*) AS waiting FROM pg_stat_activity
       WHERE wait_event_type = 'Lock' AND datname = current_database()`,
    );
    return Number(rows[0]?.waiting) >= 2;
  });

  paused.signal('SIGSTOP');
  await owners({ b: 64 });
  // Postgres has its commit, and lets it run only now.
  await owner.query('COMMIT');
  await owner.end();
  const before = await Promise.all(
    contexts.map(async (id) => (await readLog(cluster.database.serviceUrl, id)).length),
  );
  const client = new Client(other.url, cluster.client.token);
  const { error } = await client.mutate(contexts[0] ?? '', 'set', { key: 'x', value: 'x' });
  expect(error).toBeUndefined();
  paused.signal('SIGCONT');

  await owners({ a: 32, b: 32 });
  expect(paused.logged('partitions were taken')).toBeDefined();
  expect(other.logged('partitions were taken')).toBeUndefined();
  await progress(writers);
  await writers.stop();
  expect(Math.min(...before)).toBeGreaterThan(1);
  await writers.check(cluster.database);
});
