import { sql } from 'kysely';
import { sha256 } from '#shared/crypto/sha256.ts';
import type { Database } from './database.ts';

/**
 * Marks something that may be used once as used, on every replica and over restarts: a nonce, a
 * refresh token, an invitation. False when it was used before. It is forgotten after `expiresAt`,
 * when its own time limit refuses it.
 */
export async function spend(
  database: Database,
  kind: 'challenge' | 'refresh-token' | 'invitation' | 'signed-headers',
  value: string,
  expiresAt: Date,
): Promise<boolean> {
  const token = Buffer.from(sha256(`${kind} ${value}`));
  const inserted = await database.kysely
    .insertInto('spent')
    .values({ token, expires_at: expiresAt })
    .onConflict((conflict) => conflict.column('token').doNothing())
    .returning('token')
    .executeTakeFirst();
  return inserted !== undefined;
}

/** Deletes what its own time limit refuses by now. */
export async function forgetSpent(database: Database): Promise<void> {
  await sql`DELETE FROM spent WHERE expires_at < now()`.execute(database.kysely);
}
