import type { ContextId } from '#shared/domain/ids.ts';
import type { StateChange, Transaction } from '#shared/domain/transaction.ts';
import { decodeChanges } from '#shared/protocol/seal.ts';
import { assert } from '#shared/util/assert.ts';
import type { Database } from './database.ts';
import { transactionOf } from './transaction-rows.ts';

const PAGE_ROWS = 1_000;

/** Transactions `from`, `from + 1`, … up to `to`, at most `limit`, ordered by sequence. */
export async function readTransactions(
  database: Database,
  contextKey: bigint,
  contextId: ContextId,
  range: { readonly from: bigint; readonly limit: number; readonly to?: bigint },
): Promise<Transaction[]> {
  let query = database.kysely
    .selectFrom('transactions')
    .selectAll()
    .where('context', '=', contextKey.toString())
    .where('sequence', '>=', range.from.toString())
    .orderBy('sequence')
    .limit(range.limit);
  if (range.to !== undefined) query = query.where('sequence', '<=', range.to.toString());
  return (await query.execute()).map((row) => transactionOf(row, contextId));
}

/** The transaction that a request id left, or null. */
export async function readRequest(
  database: Database,
  contextKey: bigint,
  contextId: ContextId,
  requestId: string,
): Promise<Transaction | null> {
  const row = await database.kysely
    .selectFrom('transactions')
    .selectAll()
    .where('context', '=', contextKey.toString())
    .where('request_id', '=', requestId)
    .executeTakeFirst();
  return row === undefined ? null : transactionOf(row, contextId);
}

/** Those of the last `limit` transactions that carry a request id. */
export async function readRecentRequests(
  database: Database,
  contextKey: bigint,
  contextId: ContextId,
  limit: number,
): Promise<{ readonly transactions: Transaction[]; readonly isWholeLog: boolean }> {
  const rows = await database.kysely
    .selectFrom((from) =>
      from
        .selectFrom('transactions')
        .selectAll()
        .where('context', '=', contextKey.toString())
        .orderBy('sequence', 'desc')
        .limit(limit)
        .as('tail'),
    )
    .selectAll()
    .orderBy('sequence')
    .execute();
  const isWholeLog = rows.length === 0 || rows[0]?.sequence === '1';
  const transactions = rows
    .filter((row) => row.request_id !== null)
    .map((row) => transactionOf(row, contextId));
  return { transactions, isWholeLog };
}

/** The log after `from` up to and with `to`, in pages, in order; the next is read ahead. */
export function streamTransactions(
  database: Database,
  contextKey: bigint,
  contextId: ContextId,
  { from, to }: { readonly from: bigint; readonly to: bigint },
): AsyncGenerator<readonly Transaction[]> {
  return readAhead(from, to, (range) =>
    readTransactions(database, contextKey, contextId, { ...range, limit: PAGE_ROWS }),
  );
}

/** State diffs after `from` up to and with `to`, in pages, in order; the next is read ahead. */
export function streamChanges(
  database: Database,
  contextKey: bigint,
  { from, to }: { readonly from: bigint; readonly to: bigint },
): AsyncGenerator<readonly StateChange[]> {
  return readAhead(from, to, async (range) => {
    const rows = await database.kysely
      .selectFrom('transactions')
      .select('changes')
      .where('context', '=', contextKey.toString())
      .where('sequence', '>=', range.from.toString())
      .where('sequence', '<=', range.to.toString())
      .orderBy('sequence')
      .execute();
    assert(rows.length === Number(range.to - range.from) + 1, 'the log has no gap below its head');
    return rows.flatMap((row) => decodeChanges(row.changes));
  });
}

/** Ranges of sequences after `from` up to and with `to`: one is yielded while the next is read. */
async function* readAhead<T>(
  from: bigint,
  to: bigint,
  read: (range: { readonly from: bigint; readonly to: bigint }) => Promise<readonly T[]>,
): AsyncGenerator<readonly T[]> {
  const readAfter = (after: bigint) => {
    if (after >= to) return null;
    const end = after + BigInt(PAGE_ROWS);
    const page = read({ from: after + 1n, to: end < to ? end : to });
    // It is awaited later, or never when the consumer stops.
    page.catch(() => undefined);
    return { page, end };
  };
  for (let next = readAfter(from); next !== null; ) {
    const rows = await next.page;
    next = readAfter(next.end);
    yield rows;
  }
}
