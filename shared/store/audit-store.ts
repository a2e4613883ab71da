import { sql } from 'kysely';
import { decodeId } from '#shared/crypto/base58.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import type { Divergence } from '#shared/protocol/audit-api.ts';
import { contextIdFromBytes } from '#shared/protocol/ids.ts';
import { assert } from '#shared/util/assert.ts';
import type { Database } from './database.ts';

/** A context that the audit has taken up. */
export interface AuditedContext {
  readonly contextId: ContextId;
  readonly headSequence: bigint;
  /** All transactions up to this one were verified before. */
  readonly verifiedSequence: bigint;
}

export interface AuditTotals {
  /** Sum over all contexts of what was verified, and of what is in their logs beyond that. */
  readonly verified: number;
  readonly unverified: number;
  readonly divergent: readonly { readonly contextId: ContextId; readonly sequence: string }[];
}

/** Of contexts that diverge, so many are told. */
const DIVERGENT_MAX = 100;

/**
 * Takes up the context that was not looked at for longest and not since `before`: one that has
 * something unverified, else, with `which: 'any'`, just any. Null when there is none. What diverged
 * is left alone.
 */
export async function takeAuditedContext(
  database: Database,
  { before, which }: { readonly before: Date; readonly which: 'behind' | 'any' },
): Promise<AuditedContext | null> {
  const isBehind =
    which === 'any' ? sql`` : sql`AND c.head_sequence > COALESCE(a.verified_sequence, 0)`;
  const { rows } = await sql<{ context_id: Buffer; head_sequence: string; verified: string }>`
    WITH next AS (
      SELECT c.context, c.context_id, c.head_sequence FROM contexts c
      LEFT JOIN audit_progress a ON a.context = c.context
      WHERE c.deleted_at IS NULL AND a.divergent_sequence IS NULL ${isBehind}
        AND (a.checked_at IS NULL OR a.checked_at < ${before})
      ORDER BY a.checked_at NULLS FIRST, c.context LIMIT 1
    ), taken AS (
      INSERT INTO audit_progress (context, verified_sequence, checked_at)
      SELECT context, 0, clock_timestamp() FROM next
      ON CONFLICT (context) DO UPDATE SET checked_at = clock_timestamp()
      RETURNING context, verified_sequence
    )
    SELECT n.context_id, n.head_sequence, t.verified_sequence AS verified
    FROM taken t JOIN next n ON n.context = t.context`.execute(database.kysely);
  const [row] = rows;
  if (row === undefined) return null;
  return {
    contextId: contextIdFromBytes(row.context_id),
    headSequence: BigInt(row.head_sequence),
    verifiedSequence: BigInt(row.verified),
  };
}

/** The time of the database, by which the audit counts its rounds. */
export async function readAuditTime(database: Database): Promise<Date> {
  const { rows } = await sql<{ at: Date }>`SELECT clock_timestamp() AS at`.execute(database.kysely);
  const [row] = rows;
  assert(row !== undefined, 'a database has a time');
  return row.at;
}

/** All up to `sequence` was verified: never goes back. With `clears`, what diverged no longer does. */
export async function saveVerified(
  database: Database,
  contextId: ContextId,
  { sequence, clears }: { readonly sequence: bigint; readonly clears: boolean },
): Promise<void> {
  const cleared = sql`divergent_sequence = NULL, divergence = NULL,`;
  await sql`
    INSERT INTO audit_progress AS a (context, verified_sequence, checked_at)
    SELECT context, ${sequence.toString()}::int8, clock_timestamp() FROM contexts
    WHERE context_id = ${Buffer.from(decodeId(contextId))}
    ON CONFLICT (context) DO UPDATE SET ${clears ? cleared : sql``}
      verified_sequence = GREATEST(a.verified_sequence, EXCLUDED.verified_sequence)`.execute(
    database.kysely,
  );
}

/** Keeps what diverges; true when it was not known before. */
export async function saveDivergence(
  database: Database,
  contextId: ContextId,
  divergence: Divergence,
): Promise<boolean> {
  const { rows } = await sql`
    INSERT INTO audit_progress AS a (context, verified_sequence, checked_at, divergent_sequence,
      divergence)
    SELECT context, 0, clock_timestamp(), ${divergence.sequence}::int8,
      ${JSON.stringify(divergence)}::jsonb
    FROM contexts WHERE context_id = ${Buffer.from(decodeId(contextId))}
    ON CONFLICT (context) DO UPDATE SET divergent_sequence = EXCLUDED.divergent_sequence,
      divergence = EXCLUDED.divergence,
      verified_sequence = LEAST(a.verified_sequence, EXCLUDED.divergent_sequence - 1)
    WHERE a.divergent_sequence IS DISTINCT FROM EXCLUDED.divergent_sequence
    RETURNING 1`.execute(database.kysely);
  return rows.length > 0;
}

export async function readAuditTotals(database: Database): Promise<AuditTotals> {
  const { rows: sums } = await sql<{ verified: string; unverified: string }>`
    SELECT COALESCE(sum(a.verified_sequence), 0) AS verified,
      COALESCE(sum(c.head_sequence - COALESCE(a.verified_sequence, 0)), 0) AS unverified
    FROM contexts c LEFT JOIN audit_progress a ON a.context = c.context
    WHERE c.deleted_at IS NULL`.execute(database.kysely);
  const { rows } = await sql<{ context_id: Buffer; sequence: string }>`
    SELECT c.context_id, a.divergent_sequence AS sequence
    FROM audit_progress a JOIN contexts c ON c.context = a.context
    WHERE a.divergent_sequence IS NOT NULL ORDER BY a.context LIMIT ${DIVERGENT_MAX}`.execute(
    database.kysely,
  );
  return {
    verified: Number(sums[0]?.verified ?? 0),
    unverified: Number(sums[0]?.unverified ?? 0),
    divergent: rows.map(({ context_id: bytes, sequence }) => ({
      contextId: contextIdFromBytes(bytes),
      sequence,
    })),
  };
}
