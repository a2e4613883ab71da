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
  await database.kysely.insertInto('token_keys').values(rowOf(key)).execute();
}

/** Forgets all keys, and all tokens with them, for this one. */
export async function replaceTokenKeys(
  database: Database,
  key: Omit<TokenKeyRow, 'createdAt'>,
): Promise<void> {
  await database.kysely.transaction().execute(async (work) => {
    await work.deleteFrom('token_keys').execute();
    await work.insertInto('token_keys').values(rowOf(key)).execute();
  });
}

export async function hasTokenKey(database: Database, keyId: string): Promise<boolean> {
  const query = database.kysely.selectFrom('token_keys').select('key_id');
  return (await query.where('key_id', '=', keyId).executeTakeFirst()) !== undefined;
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

function rowOf({ keyId, publicKey, sealedPrivateKey }: Omit<TokenKeyRow, 'createdAt'>) {
  return {
    key_id: keyId,
    public_key: Buffer.from(publicKey),
    sealed_private_key: Buffer.from(sealedPrivateKey),
  };
}
