import { type Kysely, sql } from 'kysely';
import { decodeId } from '#shared/crypto/base58.ts';
import type { ApplicationId, ContextId, PublicKey } from '#shared/domain/ids.ts';
import { GENESIS, type Head, type Transaction } from '#shared/domain/transaction.ts';
import {
  applicationIdFromBytes,
  contextIdFromBytes,
  transactionHashFromBytes,
} from '#shared/protocol/ids.ts';
import { assert } from '#shared/util/assert.ts';
import { holdApplication } from './application-store.ts';
import type { Database } from './database.ts';
import type { ForkPoint } from './fork-point.ts';
import { type Lineage, loadLineage, ownLog } from './lineage.ts';
import { byteaArray, int8Array, textArray } from './pg-array.ts';
import type { Fork } from '#shared/protocol/fork.ts';
import { decodeUpgrade } from '#shared/protocol/upgrade.ts';
import { encodeChanges, encodeEvents } from '#shared/protocol/seal.ts';
import type { Tables } from './tables.ts';

/** The lease that a commit must still hold. */
export interface Fence {
  readonly partition: number;
  readonly epoch: bigint;
}

export interface AppendRow {
  /** Surrogate of the context, see `ContextRow`. */
  readonly contextKey: bigint;
  readonly transaction: Transaction;
  /** Bytes of the context's state after the transaction. */
  readonly stateBytes: number;
}

/** The head of a context. */
export interface ContextHead {
  readonly contextKey: bigint;
  readonly contextId: ContextId;
  readonly applicationId: ApplicationId;
  readonly partition: number;
  readonly head: Head;
  /** What the guest committed last; null when it never committed a root. */
  readonly rootHash: Uint8Array | null;
  readonly stateBytes: number;
  readonly deletedAt: Date | null;
  /** The last place of its log that it shares, and who with; null when it is no fork. */
  readonly forkedFrom: Fork | null;
}

export interface ContextRow extends ContextHead {
  /** Where its log is read. */
  readonly lineage: Lineage;
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

/**
 * Appends rows of any number of contexts in one Postgres transaction, all or none. `fenced` means
 * that one of the leases is no longer held, and nothing was written. Throws LogConflictError.
 */
export async function appendBatch(
  database: Database,
  batch: { readonly partitions: readonly Fence[]; readonly rows: readonly AppendRow[] },
): Promise<'committed' | 'fenced'> {
  try {
    const upgrades = batch.rows.filter(({ transaction }) => transaction.kind === 'upgrade');
    if (upgrades.length === 0) return await append(database.kysely, batch.partitions, batch.rows);
    return await database.kysely.transaction().execute(async (work) => {
      for (const { transaction } of upgrades) {
        await holdApplication(work, decodeUpgrade(transaction.payload).to);
      }
      return await append(work, batch.partitions, batch.rows);
    });
  } catch (error) {
    throw conflictOf(error) ?? error;
  }
}

/**
 * Creates a context together with its first transaction and its first member. A fork goes on from
 * a point of another log, whose applications stay installed from here on.
 */
export async function createContext(
  database: Database,
  created: Fence & {
    readonly contextId: ContextId;
    readonly applicationId: ApplicationId;
    readonly transaction: Transaction;
    readonly stateBytes: number;
    readonly forkOf?: ForkPoint;
    readonly member: {
      readonly publicKey: PublicKey;
      readonly sealedPrivateKey: Uint8Array | null;
    };
  },
): Promise<{ kind: 'created'; contextKey: bigint } | { kind: 'fenced' } | { kind: 'exists' }> {
  const { contextId, transaction, stateBytes, member, forkOf } = created;
  const { sequence, hash, seal } = forkOf?.head ?? GENESIS;
  const contextBytes = bytesOf(contextId);
  return await database.kysely.transaction().execute(async (work) => {
    for (const id of new Set([created.applicationId, ...(forkOf?.applications ?? [])])) {
      await holdApplication(work, id);
    }
    const row = await work
      .insertInto('contexts')
      .values({
        context_id: contextBytes,
        application_id: bytesOf(created.applicationId),
        partition: created.partition,
        head_sequence: sequence.toString(),
        head_hash: bytesOf(hash),
        head_seal: Buffer.from(seal),
        root_hash: forkOf?.rootHash == null ? null : Buffer.from(forkOf.rootHash),
        state_bytes: '0',
        parent_context: forkOf?.contextKey.toString() ?? null,
        fork_sequence: forkOf === undefined ? null : sequence.toString(),
      })
      .onConflict((conflict) => conflict.column('context_id').doNothing())
      .returning('context')
      .executeTakeFirst();
    if (row === undefined) return { kind: 'exists' };
    const contextKey = BigInt(row.context);
    await work
      .insertInto('members')
      .values({
        context_id: contextBytes,
        public_key: bytesOf(member.publicKey),
        sealed_private_key:
          member.sealedPrivateKey === null ? null : Buffer.from(member.sealedPrivateKey),
      })
      .execute();
    const result = await append(work, [created], [{ contextKey, transaction, stateBytes }]);
    if (result === 'committed') return { kind: 'created', contextKey };
    await sql`ROLLBACK`.execute(work);
    return { kind: 'fenced' };
  });
}

/**
 * One statement: the fence, the check that each context's head is where the rows start, the rows
 * and the new heads. Two writers at once both find the head where they expect it; the primary key
 * then lets one of them append. The `LIMIT`s cut nothing off: they tell the planner, who can't see
 * into the arrays and plans once, to look a few rows up by their key and never to scan a table.
 */
async function append(
  work: Kysely<Tables>,
  fences: readonly Fence[],
  rows: readonly AppendRow[],
): Promise<'committed' | 'fenced'> {
  const heads = headsOf(rows);
  const deleted = heads.filter(({ last }) => last.transaction.kind === 'delete');
  assert(
    deleted.length === rows.filter(({ transaction }) => transaction.kind === 'delete').length,
    'nothing follows the tombstone of a context',
  );
  const { rows: result } = await sql<{ held: string; expected: string; inserted: string }>`
    WITH wanted AS (
      SELECT * FROM unnest(${int8Array(fences.map(({ partition }) => BigInt(partition)))}::int8[],
        ${int8Array(fences.map(({ epoch }) => epoch))}::int8[]) AS w(partition, epoch)
      LIMIT ${fences.length}::int8
    ), held AS MATERIALIZED (
      SELECT p.partition FROM partitions p JOIN wanted w
        ON w.partition = p.partition AND w.epoch = p.epoch ORDER BY p.partition FOR SHARE OF p
    ), heads AS MATERIALIZED (
      SELECT * FROM unnest(${int8Array(heads.map(({ contextKey }) => contextKey))}::int8[],
        ${int8Array(heads.map(({ first }) => first.transaction.sequence))}::int8[],
        ${byteaArray(heads.map(({ first }) => decodeId(first.transaction.priorHash)))}::bytea[],
        ${int8Array(heads.map(({ last }) => last.transaction.sequence))}::int8[],
        ${byteaArray(heads.map(({ last }) => decodeId(last.transaction.hash)))}::bytea[],
        ${byteaArray(heads.map(({ last }) => last.transaction.seal))}::bytea[],
        ${int8Array(heads.map(({ last }) => BigInt(last.stateBytes)))}::int8[],
        ${byteaArray(heads.map(({ rootHash }) => rootHash))}::bytea[],
        ${byteaArray(heads.map(({ applicationId }) => applicationId))}::bytea[]
      ) AS h(context, first, prior_hash, sequence, hash, seal, state_bytes, root_hash,
        application_id) LIMIT ${heads.length}::int8
    ), expected AS MATERIALIZED (
      SELECT 1 FROM contexts c JOIN heads h ON h.context = c.context
        AND c.head_sequence = h.first - 1 AND c.head_hash = h.prior_hash AND c.deleted_at IS NULL
    ), fence AS MATERIALIZED (
      SELECT 1 WHERE (SELECT count(*) FROM held) = ${fences.length}
        AND (SELECT count(*) FROM expected) = ${heads.length}
    ), moved AS (
      UPDATE contexts c SET head_sequence = h.sequence, head_hash = h.hash, head_seal = h.seal,
        state_bytes = h.state_bytes, root_hash = COALESCE(h.root_hash, c.root_hash),
        application_id = COALESCE(h.application_id, c.application_id),
        deleted_at = CASE WHEN c.context = ANY(
          ${int8Array(deleted.map(({ contextKey }) => contextKey))}::int8[]) THEN now() END
      FROM heads h, fence WHERE c.context = h.context
    ), appended AS (
      INSERT INTO transactions (context, sequence, hash, prior_hash, kind, method, payload,
        executor_public_key, principal, request_id, time_ns, random_seed, fuel_limit, status,
        output, error, events, changes, root_hash, artifact, fuel_used, seal, execution_version)
      SELECT u.* FROM unnest(${columnsOf(rows)}) AS u, fence
      RETURNING 1
    )
    SELECT (SELECT count(*) FROM held) AS held, (SELECT count(*) FROM expected) AS expected,
      (SELECT count(*) FROM appended) AS inserted`.execute(work);
  const [counts] = result;
  assert(counts !== undefined, 'an aggregate gives one row');
  if (Number(counts.held) !== fences.length) return 'fenced';
  if (Number(counts.expected) !== heads.length) throw new LogConflictError('sequence');
  assert(Number(counts.inserted) === rows.length, 'an append is all or nothing');
  return 'committed';
}

interface NewHead {
  readonly contextKey: bigint;
  readonly first: AppendRow;
  last: AppendRow;
  /** The last one that the guest committed, or null. */
  rootHash: Uint8Array | null;
  /** The one that it was upgraded to last, or null. */
  applicationId: Uint8Array | null;
}

/** First and last row of each context; the rows between them have no gap. */
function headsOf(rows: readonly AppendRow[]): NewHead[] {
  const heads = new Map<bigint, NewHead>();
  for (const row of rows) {
    const head = heads.get(row.contextKey);
    const { rootHash } = row.transaction;
    const applicationId = upgradedTo(row.transaction);
    if (head === undefined) {
      const { contextKey } = row;
      heads.set(contextKey, { contextKey, first: row, last: row, rootHash, applicationId });
    } else {
      const { sequence, hash } = head.last.transaction;
      const isNext =
        row.transaction.sequence === sequence + 1n && row.transaction.priorHash === hash;
      assert(isNext, 'the rows of a context follow each other');
      head.last = row;
      head.rootHash = rootHash ?? head.rootHash;
      head.applicationId = applicationId ?? head.applicationId;
    }
  }
  return [...heads.values()];
}

function upgradedTo({ kind, payload }: Transaction): Uint8Array | null {
  return kind === 'upgrade' ? decodeId(decodeUpgrade(payload).to) : null;
}

function columnsOf(rows: readonly AppendRow[]) {
  const all = rows.map(({ transaction }) => transaction);
  const int8 = (pick: (t: Transaction) => bigint) => sql`${int8Array(all.map(pick))}::int8[]`;
  const bytea = (pick: (t: Transaction) => Uint8Array | null) =>
    sql`${byteaArray(all.map(pick))}::bytea[]`;
  const text = (pick: (t: Transaction) => string | null) =>
    sql`${textArray(all.map(pick))}::text[]`;
  return sql.join([
    sql`${int8Array(rows.map(({ contextKey }) => contextKey))}::int8[]`,
    int8((t) => t.sequence),
    bytea((t) => decodeId(t.hash)),
    bytea((t) => decodeId(t.priorHash)),
    text((t) => t.kind),
    text((t) => t.method),
    bytea((t) => t.payload),
    bytea((t) => decodeId(t.executorPublicKey)),
    text((t) => t.principal),
    text((t) => t.requestId),
    int8((t) => t.timeNs),
    bytea((t) => t.randomSeed),
    int8((t) => t.fuelLimit),
    text((t) => t.status),
    bytea((t) => t.output),
    text((t) => t.error),
    bytea((t) => encodeEvents(t.events)),
    bytea((t) => encodeChanges(t.changes)),
    bytea((t) => t.rootHash),
    bytea((t) => t.artifact),
    int8((t) => t.fuelUsed),
    bytea((t) => t.seal),
    int8((t) => BigInt(t.executionVersion)),
  ]);
}

export async function findContext(
  database: Database,
  contextId: ContextId,
): Promise<ContextRow | null> {
  const row = await selectContexts(database)
    .where('c.context_id', '=', bytesOf(contextId))
    .executeTakeFirst();
  if (row === undefined) return null;
  const head = contextOf(row);
  const { contextKey, forkedFrom } = head;
  const lineage =
    forkedFrom === null ? ownLog(contextKey, contextId) : await loadLineage(database, contextKey);
  return { ...head, lineage };
}

/** All contexts that are not deleted, oldest first. */
export async function listContexts(database: Database): Promise<ContextHead[]> {
  const rows = await selectContexts(database)
    .where('c.deleted_at', 'is', null)
    .orderBy('c.context')
    .execute();
  return rows.map(contextOf);
}

function selectContexts({ kysely }: Database) {
  return kysely
    .selectFrom('contexts as c')
    .leftJoin('contexts as p', 'p.context', 'c.parent_context')
    .selectAll('c')
    .select('p.context_id as parent_id');
}

function contextOf(row: {
  context: string;
  context_id: Buffer;
  application_id: Buffer;
  partition: number;
  head_sequence: string;
  head_hash: Buffer;
  head_seal: Buffer;
  root_hash: Buffer | null;
  state_bytes: string;
  deleted_at: Date | null;
  parent_id: Buffer | null;
  fork_sequence: string | null;
}): ContextHead {
  const { parent_id: parentId, fork_sequence: forkSequence } = row;
  return {
    contextKey: BigInt(row.context),
    contextId: contextIdFromBytes(row.context_id),
    applicationId: applicationIdFromBytes(row.application_id),
    partition: row.partition,
    head: {
      sequence: BigInt(row.head_sequence),
      hash: transactionHashFromBytes(row.head_hash),
      seal: row.head_seal,
    },
    rootHash: row.root_hash,
    stateBytes: Number(row.state_bytes),
    deletedAt: row.deleted_at,
    forkedFrom:
      parentId === null || forkSequence === null
        ? null
        : { contextId: contextIdFromBytes(parentId), sequence: BigInt(forkSequence) },
  };
}

function conflictOf(error: unknown): LogConflictError | null {
  if (!(error instanceof Error)) return null;
  const { code, constraint } = error as { code?: string; constraint?: string };
  if (code !== '23505') return null;
  return new LogConflictError(constraint?.includes('request') ? 'request_id' : 'sequence');
}

function bytesOf(id: string): Buffer {
  return Buffer.from(decodeId(id));
}
