import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import type { Database } from './database.ts';
import type { Lineage } from './lineage.ts';

/** What a snapshot holds, by the SHA-256 of its encoding. */
export interface SnapshotHash {
  readonly sequence: bigint;
  /** Of the transaction that it was taken behind. */
  readonly seal: Buffer;
  readonly stateHash: Uint8Array;
}

/** The snapshots of a log within these parts of it. */
export async function listSnapshotHashes(
  database: Database,
  parts: Lineage,
): Promise<SnapshotHash[]> {
  const hashes: SnapshotHash[] = [];
  for (const { contextKey, first, last } of parts) {
    const { rows } = await sql<{ sequence: string; seal: Buffer; state_hash: Buffer }>`
      SELECT sequence, seal, sha256(state) AS state_hash FROM snapshots
      WHERE context = ${contextKey.toString()}
        AND sequence BETWEEN ${first.toString()} AND ${last.toString()}
      ORDER BY sequence`.execute(database.kysely);
    for (const { sequence, seal, state_hash: stateHash } of rows) {
      hashes.push({ sequence: BigInt(sequence), seal, stateHash });
    }
  }
  return hashes;
}

/** The SHA-256 of the encoding of a state, which is never in memory as a whole. */
export function stateHashOf(state: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const hash = createHash('sha256');
  const number = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32BE(value);
    return bytes;
  };
  hash.update(number(state.size));
  for (const [key, value] of [...state].sort(([a], [b]) => (a < b ? -1 : 1))) {
    hash.update(number(key.length)).update(key, 'latin1');
    hash.update(Buffer.of(1)).update(number(value.length)).update(value);
  }
  return hash.digest();
}
