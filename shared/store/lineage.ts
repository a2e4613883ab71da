import { sql } from 'kysely';
import type { ContextId } from '#shared/domain/ids.ts';
import { contextIdFromBytes } from '#shared/protocol/ids.ts';
import { assert } from '#shared/util/assert.ts';
import type { Database } from './database.ts';

/**
 * A run of a log's sequences, and the context whose rows hold it. A fork shares the rows of its
 * parents up to where it began, and has its own from there: whoever reads a log reads its parts.
 */
export interface LogPart {
  readonly contextKey: bigint;
  /** The context that the rows were sealed for. */
  readonly contextId: ContextId;
  /** First and last sequence that the log takes from these rows. */
  readonly first: bigint;
  readonly last: bigint;
}

/** The parts of one context's log, oldest first and without a gap; the last is its own. */
export type Lineage = readonly LogPart[];

/** Parents above a context, at most: each costs every reader of its log a query. */
export const FORK_DEPTH_MAX = 32;
/** The largest that Postgres' int8 holds: a context's own part has no end. */
const SEQUENCE_MAX = 2n ** 63n - 1n;

/** A log that shares nothing. */
export function ownLog(contextKey: bigint, contextId: ContextId): Lineage {
  return [{ contextKey, contextId, first: 1n, last: SEQUENCE_MAX }];
}

/** The log of a fork, up to the context that none is above of. */
export async function loadLineage(database: Database, contextKey: bigint): Promise<Lineage> {
  const { rows } = await sql<{
    context: string;
    context_id: Buffer;
    fork_sequence: string | null;
    last: string | null;
  }>`
    WITH RECURSIVE line AS (
      SELECT context, context_id, parent_context, fork_sequence, NULL::int8 AS last, 0 AS depth
      FROM contexts WHERE context = ${contextKey.toString()}
      UNION ALL
      SELECT p.context, p.context_id, p.parent_context, p.fork_sequence, l.fork_sequence,
        l.depth + 1
      FROM line l JOIN contexts p ON p.context = l.parent_context
      WHERE l.depth <= ${FORK_DEPTH_MAX}
    ) SELECT context, context_id, fork_sequence, last FROM line ORDER BY depth DESC`.execute(
    database.kysely,
  );
  const lineage = rows.map((row) => ({
    contextKey: BigInt(row.context),
    contextId: contextIdFromBytes(row.context_id),
    first: BigInt(row.fork_sequence ?? 0) + 1n,
    last: row.last === null ? SEQUENCE_MAX : BigInt(row.last),
  }));
  assert(lineage[0]?.first === 1n, 'a lineage begins with a context that is no fork');
  return lineage;
}

/** The part that the context writes to. */
export function ownPart(lineage: Lineage): LogPart {
  const own = lineage.at(-1);
  assert(own !== undefined, 'a lineage has at least one part');
  return own;
}

/** The parts from `from` up to and with `to`, cut to that, oldest first. */
export function partsWithin(
  lineage: Lineage,
  { from, to = SEQUENCE_MAX }: { readonly from: bigint; readonly to?: bigint | undefined },
): Lineage {
  return lineage
    .map((part) => ({
      ...part,
      first: part.first > from ? part.first : from,
      last: part.last < to ? part.last : to,
    }))
    .filter(({ first, last }) => first <= last);
}
