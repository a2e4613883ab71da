import { decodeId } from '#shared/crypto/base58.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import { publicKeyFromBytes } from '#shared/protocol/ids.ts';
import type { Database } from './database.ts';

export interface Member {
  readonly publicKey: PublicKey;
  /** True when this node holds its private key. */
  readonly isOwned: boolean;
}

/** Members of a context, oldest first. */
export async function listMembers(database: Database, contextId: ContextId): Promise<Member[]> {
  const rows = await database.kysely
    .selectFrom('members')
    .select(['public_key', 'sealed_private_key'])
    .where('context_id', '=', Buffer.from(decodeId(contextId)))
    .orderBy('added_at')
    .execute();
  return rows.map((row) => ({
    publicKey: publicKeyFromBytes(row.public_key),
    isOwned: row.sealed_private_key !== null,
  }));
}
