import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { Fence } from './log-append.ts';

/**
 * Takes every partition that is free, expired or still in the name of `owner` from before a
 * restart; each gets a new epoch, so that commits of the old holder are refused.
 */
export async function acquireLeases(
  database: Database,
  lease: {
    readonly owner: string;
    /** Partitions that are held already. */
    readonly exceptPartitions: readonly number[];
    readonly validMs: number;
  },
): Promise<Fence[]> {
  const { owner, exceptPartitions, validMs } = lease;
  const { rows } = await sql<{ partition: number; epoch: string }>`
    UPDATE partitions SET owner = ${owner}, epoch = epoch + 1,
      expires_at = clock_timestamp() + ${validMs} * interval '1 millisecond'
    WHERE partition IN (
      SELECT partition FROM partitions
      WHERE (owner IS NULL OR owner = ${owner} OR expires_at < clock_timestamp())
        AND partition <> ALL(${[...exceptPartitions]}::int4[])
      ORDER BY partition FOR UPDATE)
    RETURNING partition, epoch`.execute(database.kysely);
  return rows.map(({ partition, epoch }) => ({ partition, epoch: BigInt(epoch) }));
}

/** Extends what `owner` holds and tells what that is. */
export async function renewLeases(
  database: Database,
  owner: string,
  validMs: number,
): Promise<Fence[]> {
  const { rows } = await sql<{ partition: number; epoch: string }>`
    UPDATE partitions SET expires_at = clock_timestamp() + ${validMs} * interval '1 millisecond'
    WHERE owner = ${owner} RETURNING partition, epoch`.execute(database.kysely);
  return rows.map(({ partition, epoch }) => ({ partition, epoch: BigInt(epoch) }));
}

/** Hands everything over at once. */
export async function releaseLeases(database: Database, owner: string): Promise<void> {
  await sql`UPDATE partitions SET owner = NULL, expires_at = '-infinity'
    WHERE owner = ${owner}`.execute(database.kysely);
}
