import { sql } from 'kysely';
import { decodeId } from '#shared/crypto/base58.ts';
import type { ApplicationId, ContextId, PublicKey } from '#shared/domain/ids.ts';
import { GENESIS, type Head } from '#shared/domain/transaction.ts';
import {
  applicationIdFromBytes,
  contextIdFromBytes,
  transactionHashFromBytes,
} from '#shared/protocol/ids.ts';
import { holdApplication } from './application-store.ts';
import type { Database } from './database.ts';
import type { ForkPoint } from './fork-point.ts';
import { type Lineage, loadLineage, ownLog } from './lineage.ts';
import { appendIn, type Fence, recordTypesOf } from './log-append.ts';
import type { Fork } from '#shared/protocol/fork.ts';

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

/**
 * Creates a context together with its first transaction and its first member. A fork goes on from
 * a point of another log, whose applications stay installed from here on.
 */
export async function createContext(
  database: Database,
  created: Fence & {
    readonly contextId: ContextId;
    readonly applicationId: ApplicationId;
    /** Its first transaction, as `writeLogRow` wrote it. */
    readonly row: Buffer;
    readonly stateBytes: number;
    readonly forkOf?: ForkPoint;
    readonly member: {
      readonly publicKey: PublicKey;
      readonly sealedPrivateKey: Uint8Array | null;
    };
  },
): Promise<{ kind: 'created'; contextKey: bigint } | { kind: 'fenced' } | { kind: 'exists' }> {
  const { contextId, row: init, stateBytes, member, forkOf } = created;
  const { sequence, hash, seal } = forkOf?.head ?? GENESIS;
  const contextBytes = bytesOf(contextId);
  const types = await recordTypesOf(database);
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
    const first = { contextKey, row: init, stateBytes, upgradedTo: null, isTombstone: false };
    const result = await appendIn(work, types, { fences: [created], rows: [first] });
    if (result === 'committed') return { kind: 'created', contextKey };
    await sql`ROLLBACK`.execute(work);
    return { kind: 'fenced' };
  });
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

function bytesOf(id: string): Buffer {
  return Buffer.from(decodeId(id));
}
