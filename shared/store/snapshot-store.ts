import { sql } from 'kysely';
import { sha256 } from '#shared/crypto/sha256.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { encodeChanges } from '#shared/protocol/seal.ts';
import { assert } from '#shared/util/assert.ts';
import type { Database } from './database.ts';
import { type Lineage, type LogPart, partsWithin } from './lineage.ts';
import { droppedRungs } from './snapshot-ladder.ts';

/** A key of 32 bytes as latin1 text, and its value. */
export type StateEntry = readonly [key: string, value: Uint8Array];

/** State of a context at a sequence. */
export interface NewSnapshot {
  readonly contextKey: bigint;
  readonly sequence: bigint;
  /** Seal of the transaction at that sequence: a snapshot of another history does not match. */
  readonly seal: Uint8Array;
  readonly state: ReadonlyMap<string, Uint8Array>;
}

/** A snapshot that the log confirms; `readSnapshot` gives its entries. */
export interface Snapshot {
  readonly contextKey: bigint;
  readonly sequence: bigint;
  readonly seal: Buffer;
}

/** Bytes of a snapshot that are read at once, about. */
const SLICE_BYTES = 4_194_304;
const COUNT_BYTES = 4;

/** Writes a snapshot and forgets those that the ladder of its context has no room for. Idempotent. */
export async function writeSnapshot(database: Database, snapshot: NewSnapshot): Promise<void> {
  const context = snapshot.contextKey.toString();
  const entries = [...snapshot.state].map(([key, value]) => ({
    key: Buffer.from(key, 'latin1'),
    value,
  }));
  entries.sort((a, b) => Buffer.compare(a.key, b.key));
  const state = encodeChanges(entries);
  const row = {
    seal: Buffer.from(snapshot.seal),
    state_hash: Buffer.from(sha256(state)),
    state,
  };
  await database.kysely
    .insertInto('snapshots')
    .values({ context, sequence: snapshot.sequence.toString(), ...row })
    // One that is there already may be of a transaction that was rolled back.
    .onConflict((conflict) => conflict.columns(['context', 'sequence']).doUpdateSet(row))
    .execute();
  const { rows } = await sql<{ sequence: string; bytes: number }>`
    SELECT sequence, octet_length(state) AS bytes FROM snapshots WHERE context = ${context}
    ORDER BY sequence`.execute(database.kysely);
  const rungs = rows.map(({ sequence, bytes }) => ({ sequence: BigInt(sequence), bytes }));
  const dropped = droppedRungs(rungs);
  if (dropped.length === 0) return;
  await database.kysely
    .deleteFrom('snapshots')
    .where('context', '=', context)
    .where('sequence', 'in', dropped.map(String))
    .execute();
}

/**
 * The newest snapshot of a log at or below `atMost` that is whole and that the log confirms, or
 * null. One is taken ahead of the commit, so it may show a transaction that was rolled back.
 */
export async function findSnapshot(
  database: Database,
  lineage: Lineage,
  atMost: bigint,
): Promise<Snapshot | null> {
  for (const { contextKey, first, last } of partsWithin(lineage, {
    from: 1n,
    to: atMost,
  }).toReversed()) {
    for (let to = last; to >= first; ) {
      const newest = await newestWithin(database, { contextKey, first, last: to });
      if (newest === null) break;
      if (newest.isWhole) return newest;
      to = newest.sequence - 1n;
    }
  }
  return null;
}

async function newestWithin(
  database: Database,
  { contextKey, first, last }: Pick<LogPart, 'contextKey' | 'first' | 'last'>,
): Promise<(Snapshot & { readonly isWhole: boolean }) | null> {
  const context = contextKey.toString();
  const { rows } = await sql<{ sequence: string; seal: Buffer; is_whole: boolean }>`
    SELECT sequence, seal, sha256(state) = state_hash AS is_whole FROM (
      SELECT s.* FROM snapshots s JOIN transactions t
        ON t.context = s.context AND t.sequence = s.sequence AND t.seal = s.seal
      WHERE s.context = ${context} AND t.context = ${context}
        AND s.sequence BETWEEN ${first.toString()} AND ${last.toString()}
      ORDER BY s.sequence DESC LIMIT 1) AS newest`.execute(database.kysely);
  const [row] = rows;
  if (row === undefined) return null;
  const { sequence, seal, is_whole: isWhole } = row;
  return { contextKey, sequence: BigInt(sequence), seal, isWhole };
}

/**
 * The entries of a snapshot in order of key, in pages. Throws AppError `unavailable` when it was
 * replaced by others meanwhile: look for one again.
 */
export async function* readSnapshot(
  database: Database,
  { contextKey, sequence, seal }: Snapshot,
): AsyncGenerator<readonly StateEntry[]> {
  let held: Buffer = Buffer.alloc(0);
  let skip = COUNT_BYTES;
  for (let at = 1; ; at += SLICE_BYTES) {
    const { rows } = await sql<{ slice: Buffer }>`
      SELECT substring(state FROM ${at}::int FOR ${SLICE_BYTES}::int) AS slice FROM snapshots
      WHERE context = ${contextKey.toString()} AND sequence = ${sequence.toString()}
        AND seal = ${seal}`.execute(database.kysely);
    const slice = rows[0]?.slice;
    if (slice === undefined) {
      throw new AppError('unavailable', 'the snapshot was replaced meanwhile, try again');
    }
    const { entries, rest } = takeEntries(Buffer.concat([held, slice.subarray(skip)]));
    skip = 0;
    held = rest;
    if (entries.length > 0) yield entries;
    if (slice.length < SLICE_BYTES) break;
  }
  assert(held.length === 0, 'a snapshot that is whole ends with an entry');
}

/** The whole entries at the start of an encoding as `encodeChanges` makes it, and what is left. */
function takeEntries(bytes: Buffer): { entries: StateEntry[]; rest: Buffer } {
  const entries: StateEntry[] = [];
  let at = 0;
  for (;;) {
    if (at + 4 > bytes.length) break;
    const keyEnd = at + 4 + bytes.readUInt32BE(at);
    // One byte says that a value is there: a snapshot has no others.
    if (keyEnd + 5 > bytes.length) break;
    const valueAt = keyEnd + 5;
    const end = valueAt + bytes.readUInt32BE(keyEnd + 1);
    if (end > bytes.length) break;
    entries.push([bytes.toString('latin1', at + 4, keyEnd), bytes.subarray(valueAt, end)]);
    at = end;
  }
  return { entries, rest: bytes.subarray(at) };
}
