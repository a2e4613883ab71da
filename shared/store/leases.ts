import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { Fence } from './log-append.ts';
import { int8Array } from './pg-array.ts';

const PARTITIONS_MAX = 2 ** 31 - 1;

interface Lease {
  readonly owner: string;
  readonly validMs: number;
}

/**
 * Takes up to `max` partitions that are free, expired or in the name of `owner` from before a
 * restart; each gets a new epoch, so that commits of the old holder are refused. One that a commit
 * or another executor has locked just now is left for the next time.
 */
export async function acquireLeases(
  database: Database,
  {
    owner,
    validMs,
    exceptPartitions,
    max = PARTITIONS_MAX,
  }: Lease & {
    /** Partitions that are held already. */
    readonly exceptPartitions: readonly number[];
    /** All, when left out. */
    readonly max?: number;
  },
): Promise<Fence[]> {
  const { rows } = await sql<FenceRow>`
    UPDATE partitions SET owner = ${owner}, epoch = epoch + 1,
      expires_at = clock_timestamp() + ${validMs} * interval '1 millisecond'
    WHERE partition IN (
      SELECT partition FROM partitions
      WHERE (owner IS NULL OR owner = ${owner} OR expires_at < clock_timestamp())
        AND partition <> ALL(${[...exceptPartitions]}::int4[])
      ORDER BY partition LIMIT ${max} FOR UPDATE SKIP LOCKED)
    RETURNING partition, epoch`.execute(database.kysely);
  return rows.map(fenceOf);
}

/** Extends those of the leases that `owner` still holds, and tells which these are. */
export async function renewLeases(
  database: Database,
  { owner, validMs, held }: Lease & { readonly held: readonly Fence[] },
): Promise<Fence[]> {
  const { rows } = await sql<FenceRow>`
    UPDATE partitions p SET expires_at = clock_timestamp() + ${validMs} * interval '1 millisecond'
    FROM unnest(${int8Array(held.map(({ partition }) => BigInt(partition)))}::int8[],
      ${int8Array(held.map(({ epoch }) => epoch))}::int8[]) AS h(partition, epoch)
    WHERE p.partition = h.partition AND p.epoch = h.epoch AND p.owner = ${owner}
    RETURNING p.partition, p.epoch`.execute(database.kysely);
  return rows.map(fenceOf);
}

/** Hands some of the leases over at once. */
export async function releaseLeases(
  database: Database,
  { owner, held }: Pick<Lease, 'owner'> & { readonly held: readonly Fence[] },
): Promise<void> {
  await sql`
    UPDATE partitions p SET owner = NULL, expires_at = '-infinity'
    FROM unnest(${int8Array(held.map(({ partition }) => BigInt(partition)))}::int8[],
      ${int8Array(held.map(({ epoch }) => epoch))}::int8[]) AS h(partition, epoch)
    WHERE p.partition = h.partition AND p.epoch = h.epoch AND p.owner = ${owner}`.execute(
    database.kysely,
  );
}

/** What an executor must know of the others. */
export interface ExecutorCensus {
  /** Executors that live, with the one that asks. */
  readonly live: number;
  readonly partitions: number;
  /** Milliseconds until the first lease of another one ends, or null when none has any. */
  readonly nextExpiryMs: number | null;
}

/** Says that `owner` lives, and counts who else does. */
export async function registerExecutor(
  database: Database,
  { owner, validMs }: Lease,
): Promise<ExecutorCensus> {
  const { rows } = await sql<{ others: string; partitions: string; next: string | null }>`
    WITH mine AS (
      INSERT INTO executors (owner, expires_at)
      VALUES (${owner}, clock_timestamp() + ${validMs} * interval '1 millisecond')
      ON CONFLICT (owner) DO UPDATE SET expires_at = excluded.expires_at
    ), gone AS (
      DELETE FROM executors
      WHERE owner <> ${owner} AND expires_at < clock_timestamp() - interval '1 hour'
    )
    SELECT (SELECT count(*) FROM executors
        WHERE owner <> ${owner} AND expires_at > clock_timestamp()) AS others,
      (SELECT count(*) FROM partitions) AS partitions,
      (SELECT extract(epoch FROM min(expires_at) - clock_timestamp()) * 1000 FROM partitions
        WHERE owner <> ${owner} AND expires_at > clock_timestamp()) AS next`.execute(
    database.kysely,
  );
  const [row] = rows;
  return {
    live: Number(row?.others ?? 0) + 1,
    partitions: Number(row?.partitions ?? 0),
    nextExpiryMs: row?.next == null ? null : Number(row.next),
  };
}

/** From now on the others share what there is without `owner`. */
export async function retireExecutor(database: Database, owner: string): Promise<void> {
  await sql`DELETE FROM executors WHERE owner = ${owner}`.execute(database.kysely);
}

export interface ClusterState {
  readonly executors: readonly {
    readonly owner: string;
    readonly startedAt: Date;
    readonly expiresAt: Date;
  }[];
  readonly partitions: readonly {
    readonly partition: number;
    readonly owner: string | null;
    readonly epoch: bigint;
    /** Null when it is free. */
    readonly expiresAt: Date | null;
  }[];
}

/** Who lives, and who owns what; a lease that ended counts as none. */
export async function readCluster({ kysely }: Database): Promise<ClusterState> {
  const executors = await sql<{ owner: string; started_at: Date; expires_at: Date }>`
    SELECT owner, started_at, expires_at FROM executors
    WHERE expires_at > clock_timestamp() ORDER BY owner`.execute(kysely);
  const partitions = await sql<FenceRow & { owner: string | null; expires_at: Date | null }>`
    SELECT partition, epoch, CASE WHEN expires_at > clock_timestamp() THEN owner END AS owner,
      CASE WHEN owner IS NOT NULL AND expires_at > clock_timestamp() THEN expires_at END AS expires_at
    FROM partitions ORDER BY partition`.execute(kysely);
  return {
    executors: executors.rows.map(({ owner, started_at, expires_at }) => ({
      owner,
      startedAt: started_at,
      expiresAt: expires_at,
    })),
    partitions: partitions.rows.map((row) => ({
      ...fenceOf(row),
      owner: row.owner,
      expiresAt: row.expires_at,
    })),
  };
}

interface FenceRow {
  readonly partition: number;
  readonly epoch: string;
}

function fenceOf({ partition, epoch }: FenceRow): Fence {
  return { partition, epoch: BigInt(epoch) };
}
