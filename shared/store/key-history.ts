import { sql } from 'kysely';
import type { ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';
import type { TransactionKind } from '#shared/domain/transaction.ts';
import { publicKeyFromBytes, transactionHashFromBytes } from '#shared/protocol/ids.ts';
import { decodeChanges } from '#shared/protocol/seal.ts';
import type { Database } from './database.ts';
import { type Lineage, type LogPart, partsWithin } from './lineage.ts';

/** One change of one key, and the transaction that made it. */
export interface KeyChange {
  readonly contextId: ContextId;
  readonly sequence: bigint;
  readonly hash: TransactionHash;
  readonly kind: TransactionKind;
  readonly method: string;
  readonly executorPublicKey: PublicKey;
  readonly principal: string;
  readonly timeNs: bigint;
  /** Null where the key was not there, or not there any more. */
  readonly before: Uint8Array | null;
  readonly after: Uint8Array | null;
}

/** Sequences that one statement looks at: the first few for a key that changes often, then more. */
const SCAN_MIN = 512;
const SCAN_MAX = 65_536;
/** Changes of the key that one statement gives, and their bytes, about. */
const FOUND_MAX = 256;
const FOUND_BYTES = 8_388_608;

/**
 * Every change of a key at or below `at`, newest first, in pages. Postgres looks for the bytes of
 * the key in the diffs, stretch by stretch, so that few of them are decoded here.
 */
export async function* streamKeyHistory(
  database: Database,
  lineage: Lineage,
  { key, at }: { readonly key: Uint8Array; readonly at: bigint },
): AsyncGenerator<readonly KeyChange[]> {
  let newer: Omit<KeyChange, 'before'> | null = null;
  for (const part of partsWithin(lineage, { from: 1n, to: at }).toReversed()) {
    for await (const found of scan(database, part, key)) {
      const page: KeyChange[] = [];
      for (const change of found) {
        if (newer !== null) page.push({ ...newer, before: change.after });
        newer = change;
      }
      if (page.length > 0) yield page;
    }
  }
  if (newer !== null) yield [{ ...newer, before: null }];
}

async function* scan(
  database: Database,
  part: LogPart,
  key: Uint8Array,
): AsyncGenerator<readonly Omit<KeyChange, 'before'>[]> {
  let rows = SCAN_MIN;
  let limit = 16;
  for (let to = part.last; to >= part.first; ) {
    const first = to - BigInt(rows) + 1n;
    const from = first > part.first ? first : part.first;
    const { rows: candidates } = await sql<{
      sequence: string;
      hash: Buffer;
      kind: string;
      method: string;
      executor_public_key: Buffer;
      principal: string;
      time_ns: string;
      changes: Buffer;
    }>`
      SELECT sequence, hash, kind, method, executor_public_key, principal, time_ns, changes
      FROM transactions WHERE context = ${part.contextKey.toString()}
        AND sequence BETWEEN ${from.toString()} AND ${to.toString()}
        AND position(${Buffer.from(key)} IN changes) > 0
      ORDER BY sequence DESC LIMIT ${limit}`.execute(database.kysely);
    const found = candidates.flatMap(({ changes, ...row }) => {
      // The bytes of the key may also stand in a value.
      const change = decodeChanges(changes).find((each) => Buffer.compare(each.key, key) === 0);
      return change === undefined ? [] : { ...changeOf(row, part), after: change.value };
    });
    if (found.length > 0) yield found;
    const isFull = candidates.length === limit;
    to = isFull ? BigInt(candidates.at(-1)?.sequence ?? 0) - 1n : from - 1n;
    const bytes = candidates.reduce((sum, { changes }) => sum + changes.length, 0);
    limit = fitting(limit, bytes);
    if (!isFull) rows = Math.min(SCAN_MAX, rows * 4);
  }
}

/** How many rows of the size of the last ones may be read at once. */
function fitting(limit: number, bytes: number): number {
  const rows = bytes === 0 ? FOUND_MAX : Math.floor((FOUND_BYTES * limit) / bytes);
  return Math.max(1, Math.min(FOUND_MAX, rows));
}

function changeOf(
  row: {
    readonly sequence: string;
    readonly hash: Buffer;
    readonly kind: string;
    readonly method: string;
    readonly executor_public_key: Buffer;
    readonly principal: string;
    readonly time_ns: string;
  },
  { contextId }: LogPart,
): Omit<KeyChange, 'before' | 'after'> {
  return {
    contextId,
    sequence: BigInt(row.sequence),
    hash: transactionHashFromBytes(row.hash),
    kind: row.kind as TransactionKind,
    method: row.method,
    executorPublicKey: publicKeyFromBytes(row.executor_public_key),
    principal: row.principal,
    timeNs: BigInt(row.time_ns),
  };
}
