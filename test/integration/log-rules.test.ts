import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ContextId, type TransactionHash, ZERO_ID } from '#shared/domain/ids.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import {
  applicationIdFromBytes,
  contextIdFromBytes,
  publicKeyFromBytes,
} from '#shared/protocol/ids.ts';
import { insertApplication } from '#shared/store/application-store.ts';
import { blobIdOf } from '#shared/store/blob-store.ts';
import { type Database, openDatabase } from '#shared/store/database.ts';
import { acquireLeases, releaseLeases, renewLeases } from '#shared/store/leases.ts';
import { sealTransaction } from '#shared/protocol/seal.ts';
import { findSnapshot, readSnapshot, writeSnapshot } from '#shared/store/snapshot-store.ts';
import { ownLog } from '#shared/store/lineage.ts';
import { readRequest, readTransactions } from '#shared/store/log-reader.ts';
import { appendBatch, appendRowOf, LogConflictError } from '#shared/store/log-append.ts';
import { encodeLogRow } from '#shared/store/log-row.ts';
import { createContext, findContext } from '#shared/store/transaction-log.ts';
import { createTestDatabase } from '../support/infra.ts';
import { collect } from '../support/log.ts';

const PARTITION = 5;
const executorPublicKey = publicKeyFromBytes(new Uint8Array(32).fill(2));
let stack: AsyncDisposableStack;
let database: Database;
let owner: Database;
let epoch: bigint;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  const test = stack.use(await createTestDatabase());
  const onError = (): void => undefined;
  database = stack.use(openDatabase({ url: test.serviceUrl, poolMax: 8, onError }));
  owner = stack.use(openDatabase({ url: test.ownerUrl, poolMax: 2, onError }));
  epoch = await takeLease('first');
});

afterAll(() => stack.disposeAsync());

test('a transaction comes back as it was appended, seal and all', async () => {
  const context = await newContext();
  const row = next(context, { requestId: 'r-1', output: Buffer.from('1'), principal: 'ada' });

  expect(await append([row])).toBe('committed');

  const [, read] = await readTransactions(database, ownLog(context.key, context.id), {
    from: 1n,
    limit: 9,
  });
  expect(normal(read)).toEqual(normal(row.transaction));
});

test('a gap is refused', async () => {
  const context = await newContext();
  const row = next(context);
  const ahead = { ...row, transaction: { ...row.transaction, sequence: 7n } };

  await expect(append([ahead])).rejects.toThrow(LogConflictError);
  expect((await findContext(database, context.id))?.head.sequence).toBe(1n);
});

test('of two writers at once exactly one appends', async () => {
  const context = await newContext();
  const rows = Array.from({ length: 8 }, (_, i) => next(context, { payload: Buffer.from(`${i}`) }));

  const results = await Promise.allSettled(rows.map((row) => append([row])));

  expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
  const log = await readTransactions(database, ownLog(context.key, context.id), {
    from: 1n,
    limit: 99,
  });
  expect(log.map(({ sequence }) => sequence)).toEqual([1n, 2n]);
});

test('the second and third transaction of a batch need the first: all or none', async () => {
  const context = await newContext();
  const other = await newContext();
  const first = next(context);
  const stale = next(other, { priorHash: contextIdFromBytes(randomBytes(32)) });

  await expect(append([first, stale])).rejects.toThrow(LogConflictError);
  expect((await findContext(database, context.id))?.head.sequence).toBe(1n);
});

test('no role may update, delete or truncate the log', async () => {
  const context = await newContext();
  const attempts = [
    `UPDATE transactions SET output = 'x' WHERE context = ${context.key}`,
    `DELETE FROM transactions WHERE context = ${context.key}`,
    'TRUNCATE transactions',
    'TRUNCATE transactions_0',
  ];

  for (const attempt of attempts) {
    await expect(sql.raw(attempt).execute(database.kysely)).rejects.toThrow(/permission denied/);
    await expect(sql.raw(attempt).execute(owner.kysely)).rejects.toThrow(/append-only/);
  }
  expect((await findContext(database, context.id))?.head.sequence).toBe(1n);
});

test('a request id can be in a context once, and its answer is found again', async () => {
  const context = await newContext();
  const first = next(context, { requestId: 'once' });
  await append([first]);
  const again = next(context, { requestId: 'once' }, first.transaction);

  await expect(append([again])).rejects.toMatchObject({ on: 'request_id' });
  const found = await readRequest(database, context.key, context.id, 'once');
  expect(found?.hash).toBe(first.transaction.hash);
});

test('an owner that was overtaken writes nothing', async () => {
  const context = await newContext();
  const stale = epoch;
  epoch = await takeLease('second');

  expect(await append([next(context)], stale)).toBe('fenced');
  expect(await append([next(context)], epoch)).toBe('committed');
});

test('a stale insert that races the takeover blocks, then writes nothing', async () => {
  const context = await newContext();
  const stale = epoch;
  const takeover = await owner.kysely.startTransaction().execute();
  await sql`UPDATE partitions SET epoch = epoch + 1 WHERE partition = ${PARTITION}`.execute(
    takeover,
  );

  const racing = append([next(context)], stale);
  await takeover.commit().execute();

  expect(await racing).toBe('fenced');
  epoch += 1n;
  expect(await append([next(context)], epoch)).toBe('committed');
});

test('a tombstone ends a context', async () => {
  const context = await newContext();
  const tombstone = next(context, { kind: 'delete' });
  await append([tombstone]);

  await expect(append([next(context, {}, tombstone.transaction)])).rejects.toThrow(
    LogConflictError,
  );
  expect((await findContext(database, context.id))?.deletedAt).toBeInstanceOf(Date);
});

test('a snapshot survives; one that was tampered with, or of another history, is passed over', async () => {
  const context = await newContext();
  const second = next(context);
  const third = next(context, {}, second.transaction);
  await append([second, third]);
  const key = 'k'.padEnd(32, '\0');
  const snapshotOf = (sequence: bigint, seal: Uint8Array, value: number) => ({
    contextKey: context.key,
    sequence,
    seal,
    state: new Map([[key, new Uint8Array([value])]]),
  });
  await writeSnapshot(database, snapshotOf(1n, randomBytes(32), 9));
  await writeSnapshot(database, snapshotOf(1n, context.init.seal, 1));
  await writeSnapshot(database, snapshotOf(2n, second.transaction.seal, 2));
  await writeSnapshot(database, snapshotOf(3n, randomBytes(32), 3));
  await sql`UPDATE snapshots SET state = state || '\\x00' WHERE context = ${context.key.toString()}
    AND sequence = 2`.execute(database.kysely);

  const found = await findSnapshot(database, ownLog(context.key, context.id), 3n);

  expect(found?.sequence).toBe(1n);
  const entries = found === null ? [] : await collect(readSnapshot(database, found));
  expect(entries.map(([k, value]) => [k, [...value]])).toEqual([[key, [1]]]);
});

test('a snapshot of many slices comes back whole, in order of key', async () => {
  const context = await newContext();
  const state = new Map(
    Array.from({ length: 300 }, (_, i) => [
      `${i % 7} ${i}`.padEnd(32, '.'),
      randomBytes(i === 100 ? 20_000_000 : 1_000),
    ]),
  );
  const { seal } = context.init;
  await writeSnapshot(database, { contextKey: context.key, sequence: 1n, seal, state });

  const found = await findSnapshot(database, ownLog(context.key, context.id), 9n);
  if (found === null) throw new Error('it was just written');
  const entries = await collect(readSnapshot(database, found));

  expect(entries.map(([key]) => key)).toEqual([...state.keys()].toSorted());
  for (const [key, value] of entries) {
    expect(Buffer.compare(value, state.get(key) ?? Buffer.alloc(0))).toBe(0);
  }
});

interface TestContext {
  readonly id: ContextId;
  readonly key: bigint;
  readonly init: Transaction;
}

async function newContext(): Promise<TestContext> {
  const id = contextIdFromBytes(randomBytes(32));
  const init = transactionAfter(id, null, { kind: 'init', method: 'init' });
  const applicationId = applicationIdFromBytes(new Uint8Array(32).fill(3));
  const blobId = blobIdOf(new Uint8Array());
  const application = {
    blobId,
    size: 0,
    source: 'file:///x',
    metadata: new Uint8Array(),
    engine: 'wasm',
  } as const;
  await insertApplication(database, { applicationId, ...application });
  const created = await createContext(database, {
    partition: PARTITION,
    epoch,
    contextId: id,
    applicationId,
    row: encodeLogRow(init),
    stateBytes: 0,
    member: { publicKey: executorPublicKey, sealedPrivateKey: null },
  });
  if (created.kind !== 'created') throw new Error(`the context was not created: ${created.kind}`);
  return { id, key: created.contextKey, init };
}

type Next = Parameters<typeof appendRowOf>[0];

function next(
  context: TestContext,
  fields: Partial<Omit<Transaction, 'priorHash'>> & { priorHash?: string } = {},
  after: Transaction = context.init,
): Next {
  return {
    contextKey: context.key,
    stateBytes: 10,
    transaction: transactionAfter(context.id, after, fields as Partial<Transaction>),
  };
}

function transactionAfter(
  contextId: ContextId,
  prior: Transaction | null,
  fields: Partial<Transaction>,
): Transaction {
  const priorHash = prior?.hash ?? (ZERO_ID as TransactionHash);
  const asked = {
    contextId,
    method: 'set',
    payload: Buffer.from('{}'),
    priorHash,
    executorPublicKey,
  };
  const unsealed = {
    ...asked,
    kind: 'mutate' as const,
    sequence: (prior?.sequence ?? 0n) + 1n,
    hash: transactionHash({ ...asked, ...fields }),
    principal: 'test',
    requestId: null,
    timeNs: 1_700_000_000_000_000_001n,
    randomSeed: Buffer.alloc(32, 4),
    executionVersion: EXECUTION_VERSION,
    fuelLimit: 1_000_000_000n,
    status: 'ok' as const,
    output: null,
    error: null,
    events: [{ kind: 'E', data: Buffer.from('data') }],
    changes: [
      { key: Buffer.alloc(32, 1), value: Buffer.from('v') },
      { key: Buffer.alloc(32, 2), value: null },
    ],
    rootHash: null,
    artifact: null,
    fuelUsed: 0n,
    ...fields,
  };
  return { ...unsealed, seal: sealTransaction(unsealed, prior?.seal ?? new Uint8Array(32)) };
}

function append(rows: readonly Next[], at: bigint = epoch): Promise<'committed' | 'fenced'> {
  const fences = [{ partition: PARTITION, epoch: at }];
  return appendBatch(database, { fences, rows: rows.map(appendRowOf) });
}

/** Takes all partitions for a new owner, as after the old one's lease expired. */
async function takeLease(name: string): Promise<bigint> {
  await sql`UPDATE partitions SET expires_at = '-infinity'`.execute(owner.kysely);
  const taken = await acquireLeases(database, {
    owner: name,
    exceptPartitions: [],
    validMs: 60_000,
  });
  const lease = taken.find(({ partition }) => partition === PARTITION);
  if (lease === undefined) throw new Error('the lease was not free');
  expect(await renewLeases(database, { owner: name, validMs: 60_000, held: taken })).toContainEqual(
    lease,
  );
  expect(
    await acquireLeases(database, { owner: 'other', exceptPartitions: [], validMs: 1 }),
  ).toEqual([]);
  return lease.epoch;
}

/** Buffers and Uint8Arrays compare by content. */
function normal(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_key, field: unknown) => {
      if (field instanceof Uint8Array) return [...field];
      return typeof field === 'bigint' ? `${field}` : field;
    }).replaceAll(/\{"type":"Buffer","data":(\[[^\]]*\])\}/g, '$1'),
  );
}

test('releasing hands every partition over at once', async () => {
  const { rows } = await sql<{ partition: number; epoch: string }>`
    SELECT partition, epoch FROM partitions`.execute(database.kysely);
  const held = rows.map(({ partition, epoch }) => ({ partition, epoch: BigInt(epoch) }));
  await releaseLeases(database, { owner: 'second', held });

  const taken = await acquireLeases(database, {
    owner: 'third',
    exceptPartitions: [],
    validMs: 60_000,
  });

  expect(taken).toHaveLength(64);
});
