import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import type { Transaction } from '#shared/domain/transaction.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import { type Database, openDatabase } from '#shared/store/database.ts';
import { listMembers } from '#shared/store/member-store.ts';
import { sealTransaction } from '#shared/protocol/seal.ts';
import { readTransactions } from '#shared/store/log-reader.ts';
import { appendBatch, appendRowOf } from '#shared/store/log-append.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import type { TestDatabase } from './infra.ts';

export function openTestDatabase(url: string): Database {
  return openDatabase({ url, poolMax: 2, onError: () => undefined });
}

/** Everything that a reader gives in pages. */
export async function collect<T>(pages: AsyncIterable<readonly T[]>): Promise<T[]> {
  const all: T[] = [];
  for await (const page of pages) all.push(...page);
  return all;
}

/** The whole log of a context in the database at `url`. */
export async function readLog(url: string, contextId: string): Promise<Transaction[]> {
  await using opened = openTestDatabase(url);
  const id = parseContextId(contextId);
  const context = await findContext(opened, id);
  if (context === null) return [];
  const log: Transaction[] = [];
  for (;;) {
    const page = await readTransactions(opened, context.lineage, {
      from: BigInt(log.length + 1),
      limit: 1_000,
    });
    if (page.length === 0) return log;
    log.push(...page);
  }
}

/** Appends a transaction that nobody announces, as an owner does that dies after its commit. */
export async function appendBehindTheOwner(
  database: TestDatabase,
  contextId: string,
): Promise<void> {
  await using opened = openTestDatabase(database.serviceUrl);
  const id = parseContextId(contextId);
  const context = await findContext(opened, id);
  if (context === null) throw new Error('no such context');
  const [member] = await listMembers(opened, id);
  const { partition, head, contextKey, stateBytes } = context;
  const { rows } = await sql<{ epoch: string }>`
    SELECT epoch FROM partitions WHERE partition = ${partition}`.execute(opened.kysely);
  const payload = randomBytes(4);
  const executorPublicKey =
    member?.publicKey ??
    (() => {
      throw new Error('no member');
    })();
  const asked = { contextId: id, method: 'x', payload, priorHash: head.hash, executorPublicKey };
  const unsealed = {
    ...asked,
    kind: 'mutate' as const,
    principal: 'test',
    requestId: null,
    timeNs: 1n,
    randomSeed: randomBytes(32),
    executionVersion: EXECUTION_VERSION,
    fuelLimit: 1_000_000_000n,
    status: 'ok' as const,
    output: null,
    error: null,
    events: [],
    changes: [],
    rootHash: null,
    artifact: null,
    fuelUsed: 0n,
    sequence: head.sequence + 1n,
    hash: transactionHash(asked),
  };
  const transaction = { ...unsealed, seal: sealTransaction(unsealed, head.seal) };
  const epoch = BigInt(rows[0]?.epoch ?? 0);
  await appendBatch(opened, {
    fences: [{ partition, epoch }],
    rows: [appendRowOf({ contextKey, transaction, stateBytes })],
  });
}
