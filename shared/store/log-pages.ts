import type { ContextId } from '#shared/domain/ids.ts';
import { decodeUpgrade, type Upgrade } from '#shared/protocol/upgrade.ts';
import { splitCopy } from './copy-rows.ts';
import type { Database } from './database.ts';
import type { Lineage } from './lineage.ts';

/** The columns of a log page and their places. */
export const LOG = {
  sequence: 0,
  hash: 1,
  prior_hash: 2,
  kind: 3,
  method: 4,
  payload: 5,
  executor_public_key: 6,
  principal: 7,
  request_id: 8,
  time_ns: 9,
  random_seed: 10,
  execution_version: 11,
  fuel_limit: 12,
  status: 13,
  output: 14,
  error: 15,
  events: 16,
  changes: 17,
  root_hash: 18,
  artifact: 19,
  fuel_used: 20,
  seal: 21,
} as const;
/** The columns of a page of state diffs and their places. */
export const DIFF = { sequence: 0, changes: 1 } as const;

/** The columns of a page of seals and their places. */
export const SEAL = { sequence: 0, seal: 1 } as const;

/** Consecutive rows as Postgres sent them: undecoded, and cheap to hand to another thread. */
export interface LogPage {
  /** Whose log the rows were written to. */
  readonly contextId: ContextId;
  /** Tuples of COPY's binary format, for a `CopyRows`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Postgres keeps old rows of all tables for as long as one query runs: each is kept short. */
const ROWS_PER_QUERY = 4_096n;
/** A page has about so many bytes, or one row. */
const PAGE_BYTES = 1_048_576;

/** The rows of a log in pages, ordered by sequence. What is missing in the log is left out. */
export function streamLogPages(database: Database, parts: Lineage): AsyncGenerator<LogPage> {
  return streamPages(database, parts, LOG);
}

/** Like `streamLogPages`, of the state diffs alone. */
export function streamDiffPages(database: Database, parts: Lineage): AsyncGenerator<LogPage> {
  return streamPages(database, parts, DIFF);
}

/** Like `streamLogPages`, of the seals alone. */
export function streamSealPages(database: Database, parts: Lineage): AsyncGenerator<LogPage> {
  return streamPages(database, parts, SEAL);
}

/** The first or the last `upgrade` in these parts of a log, or null. */
export async function readUpgradeIn(
  database: Database,
  parts: Lineage,
  which: 'first' | 'last',
): Promise<{ readonly sequence: bigint; readonly upgrade: Upgrade } | null> {
  for (const part of which === 'first' ? parts : parts.toReversed()) {
    const row = await database.kysely
      .selectFrom('transactions')
      .select(['sequence', 'payload'])
      .where('context', '=', part.contextKey.toString())
      .where('kind', '=', 'upgrade')
      .where('sequence', '>=', part.first.toString())
      .where('sequence', '<=', part.last.toString())
      .orderBy('sequence', which === 'first' ? 'asc' : 'desc')
      .executeTakeFirst();
    if (row !== undefined) {
      return { sequence: BigInt(row.sequence), upgrade: decodeUpgrade(row.payload) };
    }
  }
  return null;
}

async function* streamPages(
  database: Database,
  parts: Lineage,
  columns: Readonly<Record<string, number>>,
): AsyncGenerator<LogPage> {
  for (const { contextKey, contextId, first, last } of parts) {
    for (let from = first; from <= last; from += ROWS_PER_QUERY) {
      const wanted = from + ROWS_PER_QUERY - 1n;
      const to = wanted < last ? wanted : last;
      // COPY takes no parameters: these are integers.
      const query = `SELECT ${Object.keys(columns).join(', ')} FROM transactions
        WHERE context = ${contextKey} AND sequence BETWEEN ${from} AND ${to} ORDER BY sequence`;
      for await (const bytes of splitCopy(database.copyOut(query), PAGE_BYTES)) {
        yield { contextId, bytes };
      }
    }
  }
}
