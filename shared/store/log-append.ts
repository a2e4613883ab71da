import { CompiledQuery, type Kysely, sql } from 'kysely';
import { decodeId } from '#shared/crypto/base58.ts';
import type { ApplicationId } from '#shared/domain/ids.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import { decodeUpgrade } from '#shared/protocol/upgrade.ts';
import { assert } from '#shared/util/assert.ts';
import { ByteWriter } from '#shared/util/byte-writer.ts';
import { holdApplication } from './application-store.ts';
import type { Database } from './database.ts';
import {
  encodeLogRow,
  hashOf,
  headFieldsOf,
  LOG_ROW_COLUMNS,
  priorHashOf,
  rootHashOf,
  sequenceOf,
  setContext,
} from './log-row.ts';
import { int8Array, recordArray, writeArrayHeader } from './pg-array.ts';
import { boolField, byteaField, int8Field, openRecord } from './pg-record.ts';
import type { Tables } from './tables.ts';

/** The lease that a commit must still hold. */
export interface Fence {
  readonly partition: number;
  readonly epoch: bigint;
}

/** A transaction on its way into the log. */
export interface AppendRow {
  /** Surrogate of the context, see `ContextRow`. */
  readonly contextKey: bigint;
  /** As `writeLogRow` wrote it. */
  readonly row: Buffer;
  /** Bytes of the context's state after the transaction. */
  readonly stateBytes: number;
  /** The application that an `upgrade` gives the context. */
  readonly upgradedTo: ApplicationId | null;
  /** True for the `delete` that ends the context. */
  readonly isTombstone: boolean;
}

/** The log already holds the sequence, or the request id, of a row. */
export class LogConflictError extends Error {
  override readonly name = 'LogConflictError';
  readonly on: 'sequence' | 'request_id';

  constructor(on: 'sequence' | 'request_id') {
    super(`the log already holds this ${on}`);
    this.on = on;
  }
}

interface Append {
  readonly fences: readonly Fence[];
  readonly rows: readonly AppendRow[];
}

/**
 * Appends rows of any number of contexts in one Postgres transaction, all or none. `fenced` means
 * that one of the leases is no longer held, and nothing was written. Throws LogConflictError.
 */
export async function appendBatch(
  database: Database,
  batch: Append,
): Promise<'committed' | 'fenced'> {
  try {
    const types = await recordTypesOf(database);
    const upgrades = batch.rows.flatMap(({ upgradedTo }) => upgradedTo ?? []);
    if (upgrades.length === 0) return await appendIn(database.kysely, types, batch);
    return await database.kysely.transaction().execute(async (work) => {
      for (const applicationId of upgrades) await holdApplication(work, applicationId);
      return await appendIn(work, types, batch);
    });
  } catch (error) {
    throw conflictOf(error) ?? error;
  }
}

/** A row of a transaction that was not laid out when it was executed. */
export function appendRowOf(given: {
  readonly contextKey: bigint;
  readonly transaction: Transaction;
  readonly stateBytes: number;
}): AppendRow {
  const { contextKey, transaction, stateBytes } = given;
  const { kind, payload } = transaction;
  return {
    contextKey,
    row: encodeLogRow(transaction),
    stateBytes,
    upgradedTo: kind === 'upgrade' ? decodeUpgrade(payload).to : null,
    isTombstone: kind === 'delete',
  };
}

/**
 * One statement: the fence, the check that each context's head is where the rows start, the rows
 * and the new heads. Two writers at once both find the head where they expect it; the primary key
 * then lets one of them append. The `LIMIT`s cut nothing off: they tell the planner, who can't see
 * into the arrays and plans once, to look a few rows up by their key and never to scan a table.
 */
const APPEND = `
  WITH wanted AS (
    SELECT * FROM unnest($1::int8[], $2::int8[]) AS w(partition, epoch) LIMIT $3::int8
  ), held AS MATERIALIZED (
    SELECT p.partition FROM partitions p JOIN wanted w
      ON w.partition = p.partition AND w.epoch = p.epoch ORDER BY p.partition FOR KEY SHARE OF p
  ), heads AS MATERIALIZED (
    SELECT * FROM unnest($4::log_head[]) LIMIT $5::int8
  ), expected AS MATERIALIZED (
    SELECT 1 FROM contexts c JOIN heads h ON h.context = c.context
      AND c.head_sequence = h.first - 1 AND c.head_hash = h.prior_hash AND c.deleted_at IS NULL
  ), fence AS MATERIALIZED (
    SELECT 1 WHERE (SELECT count(*) FROM held) = $3 AND (SELECT count(*) FROM expected) = $5
  ), moved AS (
    UPDATE contexts c SET head_sequence = h.sequence, head_hash = h.hash, head_seal = h.seal,
      state_bytes = h.state_bytes, root_hash = COALESCE(h.root_hash, c.root_hash),
      application_id = COALESCE(h.application_id, c.application_id),
      deleted_at = CASE WHEN h.is_deleted THEN now() END
    FROM heads h, fence WHERE c.context = h.context
  ), appended AS (
    INSERT INTO transactions (${LOG_ROW_COLUMNS})
    SELECT u.* FROM unnest($6::log_row[]) AS u, fence
    RETURNING 1
  )
  SELECT (SELECT count(*) FROM held) AS held, (SELECT count(*) FROM expected) AS expected,
    (SELECT count(*) FROM appended) AS inserted`;

/** As `appendBatch`, inside a transaction; errors come as Postgres gives them. */
export async function appendIn(
  work: Kysely<Tables>,
  types: RecordTypes,
  { fences, rows }: Append,
): Promise<'committed' | 'fenced'> {
  for (const { row, contextKey } of rows) setContext(row, contextKey);
  const heads = headsOf(rows);
  const headArray = new ByteWriter();
  writeArrayHeader(headArray, types.head, heads.length);
  for (const head of heads) writeHead(headArray, head);
  const query = CompiledQuery.raw(APPEND, [
    int8Array(fences.map(({ partition }) => BigInt(partition))),
    int8Array(fences.map(({ epoch }) => epoch)),
    fences.length,
    headArray.take(),
    heads.length,
    recordArray(
      types.row,
      rows.map(({ row }) => row),
    ),
  ]);
  const { rows: result } = await work.executeQuery<{
    held: string;
    expected: string;
    inserted: string;
  }>(query);
  const [counts] = result;
  assert(counts !== undefined, 'an aggregate gives one row');
  if (Number(counts.held) !== fences.length) return 'fenced';
  if (Number(counts.expected) !== heads.length) throw new LogConflictError('sequence');
  assert(Number(counts.inserted) === rows.length, 'an append is all or nothing');
  return 'committed';
}

interface NewHead {
  readonly first: AppendRow;
  last: AppendRow;
  /** The last one that the guest committed, or null. */
  rootHash: Uint8Array | null;
  /** The one that it was upgraded to last, or null. */
  upgradedTo: ApplicationId | null;
}

/** First and last row of each context; the rows between them have no gap. */
function headsOf(rows: readonly AppendRow[]): NewHead[] {
  const heads = new Map<bigint, NewHead>();
  for (const row of rows) {
    const head = heads.get(row.contextKey);
    const rootHash = rootHashOf(row.row);
    if (head === undefined) {
      heads.set(row.contextKey, { first: row, last: row, rootHash, upgradedTo: row.upgradedTo });
    } else {
      assert(isNext(row.row, head.last.row), 'the rows of a context follow each other');
      assert(!head.last.isTombstone, 'nothing follows the tombstone of a context');
      head.last = row;
      head.rootHash = rootHash ?? head.rootHash;
      head.upgradedTo = row.upgradedTo ?? head.upgradedTo;
    }
  }
  return [...heads.values()];
}

function isNext(row: Buffer, last: Buffer): boolean {
  const isChained = Buffer.compare(priorHashOf(row), hashOf(last)) === 0;
  return isChained && sequenceOf(row) === sequenceOf(last) + 1n;
}

const HEAD_FIELDS = 10;

function writeHead(writer: ByteWriter, { first, last, rootHash, upgradedTo }: NewHead): void {
  const start = openRecord(writer, HEAD_FIELDS);
  writer.raw(headFieldsOf(last.row));
  int8Field(writer, sequenceOf(first.row));
  byteaField(writer, priorHashOf(first.row));
  int8Field(writer, BigInt(last.stateBytes));
  byteaField(writer, rootHash);
  byteaField(writer, upgradedTo === null ? null : decodeId(upgradedTo));
  boolField(writer, last.isTombstone);
  writer.patchLength(start);
}

/** OIDs of the composite types: a binary array names the type of its elements. */
interface RecordTypes {
  readonly row: number;
  readonly head: number;
}

const recordTypes = new WeakMap<Database, Promise<RecordTypes>>();

/** They do not change while a database lives; asked for once. */
export function recordTypesOf(database: Database): Promise<RecordTypes> {
  const known = recordTypes.get(database);
  if (known !== undefined) return known;
  const asked = sql<RecordTypes>`
    SELECT 'log_row'::regtype::oid AS row, 'log_head'::regtype::oid AS head`
    .execute(database.kysely)
    .then(({ rows: [types] }) => {
      assert(types !== undefined, 'an expression gives one row');
      return types;
    });
  asked.catch(() => recordTypes.delete(database));
  recordTypes.set(database, asked);
  return asked;
}

function conflictOf(error: unknown): LogConflictError | null {
  if (!(error instanceof Error)) return null;
  const { code, constraint } = error as { code?: string; constraint?: string };
  if (code !== '23505') return null;
  return new LogConflictError(constraint?.includes('request') ? 'request_id' : 'sequence');
}
