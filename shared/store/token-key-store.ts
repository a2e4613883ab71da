import type { Database } from './database.ts';

/** A key that JWTs are signed with. */
export interface TokenKeyRow {
  readonly keyId: string;
  readonly publicKey: Uint8Array;
  readonly sealedPrivateKey: Uint8Array;
  readonly createdAt: Date;
}

export async function insertTokenKey(
  database: Database,
  key: Omit<TokenKeyRow, 'createdAt'>,
): Promise<void> {
  await database.kysely
    .insertInto('token_keys')
    .values({
      key_id: key.keyId,
      public_key: Buffer.from(key.publicKey),
      sealed_private_key: Buffer.from(key.sealedPrivateKey),
    })
    .execute();
}

/** Oldest first. */
export async function listTokenKeys(database: Database): Promise<TokenKeyRow[]> {
  const rows = await database.kysely
    .selectFrom('token_keys')
    .selectAll()
    .orderBy('created_at')
    .orderBy('key_id')
    .execute();
  return rows.map((row) => ({
    keyId: row.key_id,
    publicKey: row.public_key,
    sealedPrivateKey: row.sealed_private_key,
    createdAt: row.created_at,
  }));
}

export async function deleteTokenKeys(database: Database, before: Date): Promise<void> {
  await database.kysely.deleteFrom('token_keys').where('created_at', '<', before).execute();
}
