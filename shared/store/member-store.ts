import { decodeId } from '#shared/crypto/base58.ts';
import { type ContextId, type PublicKey, ZERO_ID } from '#shared/domain/ids.ts';
import { publicKeyFromBytes } from '#shared/protocol/ids.ts';
import type { Database } from './database.ts';

export interface Member {
  readonly publicKey: PublicKey;
  /** True when this node holds its private key. */
  readonly isOwned: boolean;
}

/** Identities that are of no context yet are kept under this one. */
export const NO_CONTEXT = ZERO_ID as ContextId;

export const CAPABILITIES = ['ManageApplication', 'ManageMembers', 'Proxy'] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** Members of a context, oldest first. */
export async function listMembers(database: Database, contextId: ContextId): Promise<Member[]> {
  const rows = await database.kysely
    .selectFrom('members')
    .select(['public_key', 'sealed_private_key'])
    .where('context_id', '=', bytesOf(contextId))
    .orderBy('added_at')
    .execute();
  return rows.map((row) => ({
    publicKey: publicKeyFromBytes(row.public_key),
    isOwned: row.sealed_private_key !== null,
  }));
}

export async function isMemberAnywhere(database: Database, publicKey: PublicKey): Promise<boolean> {
  const members = database.kysely.selectFrom('members').select('public_key');
  const found = members.where('public_key', '=', bytesOf(publicKey)).limit(1);
  return (await found.executeTakeFirst()) !== undefined;
}

/** The sealed private key of a member that this node owns, or null. */
export async function findSealedKey(
  database: Database,
  contextId: ContextId,
  publicKey: PublicKey,
): Promise<Uint8Array | null> {
  const row = await database.kysely
    .selectFrom('members')
    .select('sealed_private_key')
    .where('context_id', '=', bytesOf(contextId))
    .where('public_key', '=', bytesOf(publicKey))
    .executeTakeFirst();
  return row?.sealed_private_key ?? null;
}

/** False when it is a member already. */
export async function addMember(
  database: Database,
  contextId: ContextId,
  member: { readonly publicKey: PublicKey; readonly sealedPrivateKey: Uint8Array | null },
): Promise<boolean> {
  const { publicKey, sealedPrivateKey } = member;
  const row = await database.kysely
    .insertInto('members')
    .values({
      context_id: bytesOf(contextId),
      public_key: bytesOf(publicKey),
      sealed_private_key: sealedPrivateKey === null ? null : Buffer.from(sealedPrivateKey),
    })
    .onConflict((conflict) => conflict.doNothing())
    .returning('public_key')
    .executeTakeFirst();
  return row !== undefined;
}

/** Forgets an identity that was of no context. */
export async function removeIdentity(database: Database, publicKey: PublicKey): Promise<void> {
  await database.kysely
    .deleteFrom('members')
    .where('context_id', '=', bytesOf(NO_CONTEXT))
    .where('public_key', '=', bytesOf(publicKey))
    .execute();
}

export async function hasCapability(
  database: Database,
  contextId: ContextId,
  publicKey: PublicKey,
  capability: Capability,
): Promise<boolean> {
  const row = await database.kysely
    .selectFrom('capabilities')
    .select('capability')
    .where('context_id', '=', bytesOf(contextId))
    .where('public_key', '=', bytesOf(publicKey))
    .where('capability', '=', capability)
    .executeTakeFirst();
  return row !== undefined;
}

export type CapabilityGrant = readonly [publicKey: PublicKey, capability: Capability];

/** What was granted in a context; the first member has all without. */
export async function listCapabilities(
  database: Database,
  contextId: ContextId,
): Promise<CapabilityGrant[]> {
  const rows = await database.kysely
    .selectFrom('capabilities')
    .select(['public_key', 'capability'])
    .where('context_id', '=', bytesOf(contextId))
    .execute();
  return rows.flatMap((row) => {
    const capability = CAPABILITIES.find((name) => name === row.capability);
    return capability === undefined ? [] : [[publicKeyFromBytes(row.public_key), capability]];
  });
}

export async function grantCapabilities(
  database: Database,
  contextId: ContextId,
  grants: readonly CapabilityGrant[],
): Promise<void> {
  if (grants.length === 0) return;
  await database.kysely
    .insertInto('capabilities')
    .values(
      grants.map(([publicKey, capability]) => ({
        context_id: bytesOf(contextId),
        public_key: bytesOf(publicKey),
        capability,
      })),
    )
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function revokeCapabilities(
  database: Database,
  contextId: ContextId,
  grants: readonly CapabilityGrant[],
): Promise<void> {
  await database.kysely.transaction().execute(async (work) => {
    for (const [publicKey, capability] of grants) {
      await work
        .deleteFrom('capabilities')
        .where('context_id', '=', bytesOf(contextId))
        .where('public_key', '=', bytesOf(publicKey))
        .where('capability', '=', capability)
        .execute();
    }
  });
}

function bytesOf(id: string): Buffer {
  return Buffer.from(decodeId(id));
}
