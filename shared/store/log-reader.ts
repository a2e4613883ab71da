import { sql } from 'kysely';
import { encodeId } from '#shared/crypto/base58.ts';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { StateChange, Transaction, TransactionKind } from '#shared/domain/transaction.ts';
import { transactionHashFromBytes } from '#shared/protocol/ids.ts';
import type { LogNotice } from '#shared/protocol/log-notice.ts';
import { decodeUpgrade, type Upgrade } from '#shared/protocol/upgrade.ts';
import { decodeChanges, decodeEvents } from '#shared/protocol/seal.ts';
import { assert } from '#shared/util/assert.ts';
import type { Database } from './database.ts';
import { type Lineage, type LogPart, ownPart, partsWithin } from './lineage.ts';
import type { ContextRow } from './transaction-log.ts';
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
  lineage: Lineage,
  range: { readonly from: bigint; readonly limit: number; readonly to?: bigint },
): Promise<Transaction[]> {
  const found: Transaction[] = [];
  for (const { contextKey, contextId, first, last } of partsWithin(lineage, range)) {
    if (found.length === range.limit) break;
    const rows = await database.kysely
      .selectFrom('transactions')
      .selectAll()
      .where('context', '=', contextKey.toString())
      .where('sequence', '>=', first.toString())
      .where('sequence', '<=', last.toString())
      .orderBy('sequence')
      .limit(range.limit - found.length)
      .execute();
    found.push(...rows.map((row) => transactionOf(row, contextId)));
  }
  return found;
}

/** The transaction that a request id left in the context's own log, or null. */
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

/** The applications that run a log up to and with `sequence`, in order; the last one is current. */
export async function readApplications(
  database: Database,
  { lineage, applicationId }: Pick<ContextRow, 'lineage' | 'applicationId'>,
  sequence: bigint,
): Promise<readonly [ApplicationId, ...ApplicationId[]]> {
  const upgrades: (Upgrade & { readonly sequence: bigint })[] = [];
  for (const { contextKey, first, last } of lineage) {
    const rows = await database.kysely
      .selectFrom('transactions')
      .select(['sequence', 'payload'])
      .where('context', '=', contextKey.toString())
      .where('sequence', '>=', first.toString())
      .where('sequence', '<=', last.toString())
      .where('kind', '=', 'upgrade')
      .orderBy('sequence')
      .execute();
    for (const { sequence, payload } of rows) {
      upgrades.push({ sequence: BigInt(sequence), ...decodeUpgrade(payload) });
    }
  }
  const first = upgrades[0]?.from ?? applicationId;
  return [first, ...upgrades.filter((each) => each.sequence <= sequence).map(({ to }) => to)];
}

/**
 * The request ids of a context's own last `limit` transactions, oldest first: a fork knows none of
 * its parents'. `isWholeLog` when there is no other.
 */
export async function readRecentRequestIds(
  database: Database,
  lineage: Lineage,
  limit: number,
): Promise<{ readonly requestIds: string[]; readonly isWholeLog: boolean }> {
  const own = ownPart(lineage);
  const rows = await database.kysely
    .selectFrom('transactions')
    .select(['sequence', 'request_id'])
    .where('context', '=', own.contextKey.toString())
    .orderBy('sequence', 'desc')
    .limit(limit)
    .execute();
  const requestIds = rows.flatMap((row) => row.request_id ?? []).toReversed();
  const isToTheStart = rows.length === 0 || rows.at(-1)?.sequence === own.first.toString();
  return { requestIds, isWholeLog: isToTheStart };
}

interface NoticePage {
  readonly from: bigint;
  readonly limit: number;
  /** Event data after which the page ends. */
  readonly bytesMax: number;
}

/** What subscribers are told of `limit` transactions from `from` on, ordered by sequence. */
export async function readNotices(
  database: Database,
  lineage: Lineage,
  { from, limit, bytesMax }: NoticePage,
): Promise<LogNotice[]> {
  const notices: LogNotice[] = [];
  for (const part of partsWithin(lineage, { from })) {
    if (notices.length === limit) break;
    const read = await readPartNotices(database, part, limit - notices.length, bytesMax);
    // Subscribers of a fork know it by its own id only.
    const { contextId } = ownPart(lineage);
    notices.push(...read.map((notice) => ({ ...notice, contextId })));
    const last = read.at(-1);
    if (last !== undefined && last.sequence < part.last) break;
  }
  return notices;
}

async function readPartNotices(
  database: Database,
  { contextKey, contextId, first, last }: LogPart,
  limit: number,
  bytesMax: number,
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
    SELECT sequence, hash, kind, status, events, root_hash, changed FROM (
      SELECT *, sum(octet_length(events)) OVER (ORDER BY sequence)
        - octet_length(events) AS bytes_before
      FROM (
        SELECT sequence, hash, kind, status, events, root_hash,
          octet_length(changes) > ${NO_CHANGES_BYTES} AS changed
        FROM transactions WHERE context = ${contextKey.toString()}
          AND sequence >= ${first.toString()} AND sequence <= ${last.toString()}
        ORDER BY sequence LIMIT ${limit}
      ) AS page
    ) AS measured
    WHERE bytes_before < ${bytesMax} ORDER BY sequence`.execute(database.kysely);
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

/** A stretch of a log: after `from` up to and with `to`. */
export interface LogRange {
  readonly from: bigint;
  readonly to: bigint;
  readonly newestFirst?: boolean;
}

/** The transactions of a range in pages, in order; the next is read ahead. */
export function streamTransactions(
  database: Database,
  lineage: Lineage,
  range: LogRange,
): AsyncGenerator<readonly Transaction[]> {
  return readAhead(range, async ({ from, to }) => {
    const limit = Number(to - from) + 1;
    const page = await readTransactions(database, lineage, { from, to, limit });
    let bytes = 0;
    for (const { payload, output, changes } of page) {
      bytes += payload.length + (output?.length ?? 0);
      for (const { value } of changes) bytes += value?.length ?? 0;
    }
    return { page: range.newestFirst === true ? page.toReversed() : page, bytes };
  });
}

/** The state diffs of a range in pages, in order; the next is read ahead. */
export function streamChanges(
  database: Database,
  lineage: Lineage,
  range: LogRange,
): AsyncGenerator<readonly StateChange[]> {
  return readAhead(range, async ({ from, to }) => {
    const encoded: Buffer[] = [];
    for (const part of partsWithin(lineage, { from, to })) {
      const rows = await database.kysely
        .selectFrom('transactions')
        .select('changes')
        .where('context', '=', part.contextKey.toString())
        .where('sequence', '>=', part.first.toString())
        .where('sequence', '<=', part.last.toString())
        .orderBy('sequence')
        .execute();
      encoded.push(...rows.map(({ changes }) => changes));
    }
    assert(encoded.length === Number(to - from) + 1, 'the log has no gap below its head');
    let bytes = 0;
    for (const changes of encoded) bytes += changes.length;
    return { page: encoded.flatMap(decodeChanges), bytes };
  });
}

/** Sequences of one page, both included. */
interface PageRange {
  readonly from: bigint;
  readonly to: bigint;
}

/**
 * A range in pages, one yielded while the next is read. How many rows a page has follows from the
 * bytes of the one before.
 */
async function* readAhead<T>(
  { from, to, newestFirst = false }: LogRange,
  read: (page: PageRange) => Promise<{ readonly page: readonly T[]; readonly bytes: number }>,
): AsyncGenerator<readonly T[]> {
  const readAfter = (done: bigint, rows: number) => {
    const left = to - from - done;
    if (left <= 0n) return null;
    const count = BigInt(rows) < left ? BigInt(rows) : left;
    const first = newestFirst ? to - done - count + 1n : from + done + 1n;
    const reading = read({ from: first, to: first + count - 1n });
    // It is awaited later, or never when the consumer stops.
    reading.catch(() => undefined);
    return { reading, done: done + count, rows };
  };
  for (let next = readAfter(0n, FIRST_PAGE_ROWS); next !== null; ) {
    const { page, bytes } = await next.reading;
    const fitting = Math.floor((PAGE_BYTES * next.rows) / Math.max(1, bytes));
    next = readAfter(next.done, Math.max(1, Math.min(PAGE_ROWS, fitting)));
    yield page;
  }
}
