import { openBox, sealBox } from '#shared/crypto/sealed-box.ts';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import type { Random } from '#shared/util/random.ts';
import type { Database } from './database.ts';

/** What a member's private key is sealed for: it opens in no other place. */
export function memberPurpose(contextId: string, publicKey: string): string {
  return `member ${contextId} ${publicKey}`;
}

export function tokenKeyPurpose(keyId: string): string {
  return `token key ${keyId}`;
}

/** Seals every private key in the database with another key: all of them, or none. */
export async function resealSecrets(
  database: Database,
  {
    from,
    to,
    random,
  }: { readonly from: Uint8Array; readonly to: Uint8Array; readonly random: Random },
): Promise<number> {
  const reseal = (box: Buffer, purpose: string) =>
    Buffer.from(sealBox(to, openBox(from, box, purpose), purpose, random));
  return await database.kysely.transaction().execute(async (work) => {
    const members = await work
      .selectFrom('members')
      .selectAll()
      .where('sealed_private_key', 'is not', null)
      .forUpdate()
      .execute();
    for (const { context_id, public_key, sealed_private_key } of members) {
      if (sealed_private_key === null) continue;
      const purpose = memberPurpose(contextIdFromBytes(context_id), publicKeyFromBytes(public_key));
      await work
        .updateTable('members')
        .set({ sealed_private_key: reseal(sealed_private_key, purpose) })
        .where('context_id', '=', context_id)
        .where('public_key', '=', public_key)
        .execute();
    }
    const tokenKeys = await work.selectFrom('token_keys').selectAll().forUpdate().execute();
    for (const { key_id, sealed_private_key } of tokenKeys) {
      await work
        .updateTable('token_keys')
        .set({ sealed_private_key: reseal(sealed_private_key, tokenKeyPurpose(key_id)) })
        .where('key_id', '=', key_id)
        .execute();
    }
    return members.length + tokenKeys.length;
  });
}

/** True when there is anything that only the right key opens. */
export async function holdsSecrets({ kysely }: Database): Promise<boolean> {
  const tokenKey = await kysely.selectFrom('token_keys').select('key_id').limit(1).execute();
  if (tokenKey.length > 0) return true;
  const members = kysely.selectFrom('members').select('public_key');
  const sealed = members.where('sealed_private_key', 'is not', null).limit(1);
  return (await sealed.execute()).length > 0;
}

/** True when this key opens what the database holds, or there is nothing to open. */
export async function canOpenSecrets(database: Database, key: Uint8Array): Promise<boolean> {
  const row = await database.kysely
    .selectFrom('token_keys')
    .selectAll()
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) return true;
  try {
    openBox(key, row.sealed_private_key, tokenKeyPurpose(row.key_id));
    return true;
  } catch {
    return false;
  }
}
