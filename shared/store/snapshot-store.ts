import { sql } from 'kysely';
import { sha256 } from '#shared/crypto/sha256.ts';
import type { Database } from './database.ts';
import { decodeChanges, encodeChanges } from '#shared/protocol/seal.ts';

/** State of a context at a sequence: 32-byte keys as latin1 text. */
export interface Snapshot {
  readonly contextKey: bigint;
  readonly sequence: bigint;
  /** Seal of the transaction at that sequence: a snapshot of another history does not match. */
  readonly seal: Uint8Array;
  readonly state: ReadonlyMap<string, Uint8Array>;
}

const KEPT = 2;

/** Writes a snapshot and forgets all but the last two of its context. Idempotent. */
export async function writeSnapshot(database: Database, snapshot: Snapshot): Promise<void> {
  const context = snapshot.contextKey.toString();
  const entries = [...snapshot.state].map(([key, value]) => ({
    key: Buffer.from(key, 'latin1'),
    value,
  }));
  entries.sort((a, b) => Buffer.compare(a.key, b.key));
  const state = encodeChanges(entries);
  await database.kysely
    .insertInto('snapshots')
    .values({
      context,
      sequence: snapshot.sequence.toString(),
      seal: Buffer.from(snapshot.seal),
      state_hash: Buffer.from(sha256(state)),
      state,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  await sql`DELETE FROM snapshots WHERE context = ${context} AND sequence < (
    SELECT min(sequence) FROM (SELECT sequence FROM snapshots WHERE context = ${context}
      ORDER BY sequence DESC LIMIT ${KEPT}) AS kept)`.execute(database.kysely);
}

/** The newest snapshot at or below `atMost` that was not tampered with, or null. */
export async function loadSnapshot(
  database: Database,
  contextKey: bigint,
  atMost?: bigint,
): Promise<Snapshot | null> {
  let query = database.kysely
    .selectFrom('snapshots')
    .selectAll()
    .where('context', '=', contextKey.toString())
    .orderBy('sequence', 'desc');
  if (atMost !== undefined) query = query.where('sequence', '<=', atMost.toString());
  for (const row of await query.execute()) {
    if (Buffer.compare(sha256(row.state), row.state_hash) !== 0) continue;
    const state = new Map<string, Uint8Array>();
    for (const { key, value } of decodeChanges(row.state)) {
      if (value !== null) state.set(Buffer.from(key).toString('latin1'), value);
    }
    return { contextKey, sequence: BigInt(row.sequence), seal: row.seal, state };
  }
  return null;
}
