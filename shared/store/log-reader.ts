import { sql } from 'kysely';
import { encodeId } from '#shared/crypto/base58.ts';
import type { ContextId, TransactionHash } from '#shared/domain/ids.ts';
import type { StateChange, Transaction, TransactionKind } from '#shared/domain/transaction.ts';
import { transactionHashFromBytes } from '#shared/protocol/ids.ts';
import type { LogNotice } from '#shared/protocol/log-notice.ts';
import { decodeUpgrade, type Upgrade } from '#shared/protocol/upgrade.ts';
import { decodeChanges, decodeEvents } from '#shared/protocol/seal.ts';
import { assert } from '#shared/util/assert.ts';
import type { Database } from './database.ts';
import { transactionOf } from './transaction-rows.ts';

/** A page has at most so many rows, and about so many bytes. */
const PAGE_ROWS = 1_000;
const PAGE_BYTES = 8_388_608;
const FIRST_PAGE_ROWS = 32;
/** The encoding of an empty state diff. */
const NO_CHANGES_BYTES = 4;

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

/** The first `upgrade` of a log, or null: it tells which application the context began with. */
export async function readFirstUpgrade(
  database: Database,
  contextKey: bigint,
): Promise<Upgrade | null> {
  const row = await database.kysely
    .selectFrom('transactions')
    .select('payload')
    .where('context', '=', contextKey.toString())
    .where('kind', '=', 'upgrade')
    .orderBy('sequence')
    .executeTakeFirst();
  return row === undefined ? null : decodeUpgrade(row.payload);
}

/** What a request id was used for, and the answer that it got. */
export interface LoggedRequest {
  readonly requestId: string;
  readonly kind: string;
  readonly method: string;
  /** SHA-256 of the payload. */
  readonly payloadHash: Uint8Array;
  readonly status: 'ok' | 'failed';
  readonly output: Uint8Array | null;
  readonly error: string | null;
  readonly fuelUsed: bigint;
  readonly sequence: bigint;
  readonly hash: TransactionHash;
}

/**
 * Those of the last `limit` transactions that carry a request id and a small answer. `isWholeLog`
 * when there is no other request id in the log.
 */
export async function readRecentRequests(
  database: Database,
  contextKey: bigint,
  { limit, outputBytesMax }: { readonly limit: number; readonly outputBytesMax: number },
): Promise<{ readonly requests: LoggedRequest[]; readonly isWholeLog: boolean }> {
  const { rows } = await sql<{
    request_id: string | null;
    kind: string;
    method: string;
    payload_hash: Buffer;
    status: string;
    output: Buffer | null;
    output_bytes: number;
    error: string | null;
    fuel_used: string;
    sequence: string;
    hash: Buffer;
  }>`
    SELECT request_id, kind, method, sha256(payload) AS payload_hash, status, error, fuel_used,
      sequence, hash,
      COALESCE(octet_length(output), 0) AS output_bytes,
      CASE WHEN octet_length(output) <= ${outputBytesMax} THEN output END AS output
    FROM transactions WHERE context = ${contextKey.toString()}
    ORDER BY sequence DESC LIMIT ${limit}`.execute(database.kysely);
  const requests = rows.flatMap((row) =>
    row.request_id === null || row.output_bytes > outputBytesMax
      ? []
      : {
          requestId: row.request_id,
          kind: row.kind,
          method: row.method,
          payloadHash: row.payload_hash,
          status: row.status === 'ok' ? ('ok' as const) : ('failed' as const),
          output: row.output,
          error: row.error,
          fuelUsed: BigInt(row.fuel_used),
          sequence: BigInt(row.sequence),
          hash: transactionHashFromBytes(row.hash),
        },
  );
  const isToTheStart = rows.length === 0 || rows.at(-1)?.sequence === '1';
  const isComplete = rows.every(({ output_bytes: bytes }) => bytes <= outputBytesMax);
  return { requests: requests.toReversed(), isWholeLog: isToTheStart && isComplete };
}

/** What subscribers are told of `limit` transactions from `from` on, ordered by sequence. */
export async function readNotices(
  database: Database,
  contextKey: bigint,
  contextId: ContextId,
  { from, limit }: { readonly from: bigint; readonly limit: number },
): Promise<LogNotice[]> {
  const { rows } = await sql<{
    sequence: string;
    hash: Buffer;
    kind: string;
    status: string;
    events: Buffer;
    root_hash: Buffer | null;
    changed: boolean;
  }>`
    SELECT sequence, hash, kind, status, events, root_hash,
      octet_length(changes) > ${NO_CHANGES_BYTES} AS changed
    FROM transactions WHERE context = ${contextKey.toString()} AND sequence >= ${from.toString()}
    ORDER BY sequence LIMIT ${limit}`.execute(database.kysely);
  return rows.map((row) => ({
    contextId,
    sequence: BigInt(row.sequence),
    hash: transactionHashFromBytes(row.hash),
    kind: row.kind as TransactionKind,
    status: row.status === 'ok' ? 'ok' : 'failed',
    changed: row.changed,
    rootHash: row.root_hash === null ? null : encodeId(row.root_hash),
    events: decodeEvents(row.events),
  }));
}

/** The log after `from` up to and with `to`, in pages, in order; the next is read ahead. */
export function streamTransactions(
  database: Database,
  contextKey: bigint,
  contextId: ContextId,
  { from, to }: { readonly from: bigint; readonly to: bigint },
): AsyncGenerator<readonly Transaction[]> {
  return readAhead(from, to, async (range) => {
    const limit = Number(range.to - range.from) + 1;
    const page = await readTransactions(database, contextKey, contextId, { ...range, limit });
    let bytes = 0;
    for (const { payload, output, changes } of page) {
      bytes += payload.length + (output?.length ?? 0);
      for (const { value } of changes) bytes += value?.length ?? 0;
    }
    return { page, bytes };
  });
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
    let bytes = 0;
    for (const { changes } of rows) bytes += changes.length;
    return { page: rows.flatMap((row) => decodeChanges(row.changes)), bytes };
  });
}

interface Range {
  readonly from: bigint;
  readonly to: bigint;
}

/**
 * Ranges of sequences after `from` up to and with `to`: one is yielded while the next is read. How
 * many rows a page has follows from the bytes of the one before.
 */
async function* readAhead<T>(
  from: bigint,
  to: bigint,
  read: (range: Range) => Promise<{ readonly page: readonly T[]; readonly bytes: number }>,
): AsyncGenerator<readonly T[]> {
  const readAfter = (after: bigint, rows: number) => {
    if (after >= to) return null;
    const wanted = after + BigInt(rows);
    const end = wanted < to ? wanted : to;
    const reading = read({ from: after + 1n, to: end });
    // It is awaited later, or never when the consumer stops.
    reading.catch(() => undefined);
    return { reading, end, rows };
  };
  for (let next = readAfter(from, FIRST_PAGE_ROWS); next !== null; ) {
    const { page, bytes } = await next.reading;
    const fitting = Math.floor((PAGE_BYTES * next.rows) / Math.max(1, bytes));
    next = readAfter(next.end, Math.max(1, Math.min(PAGE_ROWS, fitting)));
    yield page;
  }
}
