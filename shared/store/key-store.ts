import { sql, type Transaction } from 'kysely';
import { decodeId } from '#shared/crypto/base58.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { contextIdFromBytes } from '#shared/protocol/ids.ts';
import type { Database } from './database.ts';
import type { Tables } from './tables.ts';

/** A wallet key that may add client keys. */
export interface RootKey {
  readonly verifyingKey: string;
  /** The wallet type as the client sent it, JSON text. */
  readonly wallet: string;
  /** NEAR account, or empty. */
  readonly walletAddress: string;
  readonly createdAt: Date;
}

/** A key that an application signs with. */
export interface ClientKey {
  /** Base58 of the libp2p protobuf form of an ed25519 public key. */
  readonly signingKey: string;
  readonly wallet: string;
  /** The only context it is for, or null. */
  readonly contextId: ContextId | null;
  /** The root key that added it. */
  readonly rootKey: string;
  /** It once signed a time: what it signed without one is not from it. */
  readonly signsTime: boolean;
  readonly createdAt: Date;
}

export interface IdentityEvent {
  readonly at: Date;
  readonly kind: 'root-key-added' | 'client-key-added' | 'root-key-revoked' | 'client-key-revoked';
  readonly subject: string;
  /** Who did it: a principal, or the root key whose signature asked for it. */
  readonly actor: string;
  readonly signature: string | null;
}

type Change = Pick<IdentityEvent, 'actor' | 'signature'>;
const ROOT_KEYS_LOCK = 'cairn_root_keys';

/** Adds a root key, or brings a revoked one back. With `onlyFirst` it does nothing if there is one. */
export async function addRootKey(
  database: Database,
  key: Omit<RootKey, 'createdAt'>,
  { actor, signature, onlyFirst }: Change & { readonly onlyFirst: boolean },
): Promise<boolean> {
  return await database.kysely.transaction().execute(async (work) => {
    await sql`SELECT pg_advisory_xact_lock(hashtext(${ROOT_KEYS_LOCK}))`.execute(work);
    if (onlyFirst) {
      const any = work.selectFrom('root_keys').select('verifying_key');
      if ((await any.executeTakeFirst()) !== undefined) return false;
    }
    const row = {
      verifying_key: key.verifyingKey,
      wallet: key.wallet,
      wallet_address: key.walletAddress,
      revoked_at: null,
    };
    await work
      .insertInto('root_keys')
      .values(row)
      .onConflict((conflict) => conflict.column('verifying_key').doUpdateSet(row))
      .execute();
    await note(work, { kind: 'root-key-added', subject: key.verifyingKey, actor, signature });
    return true;
  });
}

/**
 * Adds a client key, or notes another login of it. Until it is revoked it stays its root key's, and
 * for the context that it logged in for, or for none.
 */
export async function addClientKey(
  database: Database,
  key: Omit<ClientKey, 'createdAt' | 'signsTime'>,
  { actor, signature }: Change,
): Promise<'added' | 'of-another-root-key' | 'for-another-context'> {
  return await database.kysely.transaction().execute(async (work) => {
    const row = {
      signing_key: key.signingKey,
      wallet: key.wallet,
      context_id: key.contextId === null ? null : Buffer.from(decodeId(key.contextId)),
      root_key: key.rootKey,
      revoked_at: null,
    };
    const taken = await work
      .insertInto('client_keys')
      .values(row)
      .onConflict((conflict) =>
        conflict
          .column('signing_key')
          .doUpdateSet({ ...row, created_at: sql`now()` })
          .where((where) =>
            where.or([
              where.and([
                where('client_keys.root_key', '=', key.rootKey),
                where('client_keys.context_id', 'is not distinct from', row.context_id),
              ]),
              where('client_keys.revoked_at', 'is not', null),
            ]),
          ),
      )
      .returning('signing_key')
      .executeTakeFirst();
    if (taken === undefined) {
      const { root_key } = await work
        .selectFrom('client_keys')
        .select('root_key')
        .where('signing_key', '=', key.signingKey)
        .executeTakeFirstOrThrow();
      return root_key === key.rootKey ? 'for-another-context' : 'of-another-root-key';
    }
    await note(work, { kind: 'client-key-added', subject: key.signingKey, actor, signature });
    return 'added';
  });
}

export async function findRootKey(
  database: Database,
  verifyingKey: string,
): Promise<RootKey | null> {
  const keys = await listRootKeys(database);
  return keys.find((key) => key.verifyingKey === verifyingKey) ?? null;
}

/** True once the node was claimed, whatever was revoked since. */
export async function wasClaimed(database: Database): Promise<boolean> {
  const query = database.kysely.selectFrom('root_keys').select('verifying_key').limit(1);
  return (await query.executeTakeFirst()) !== undefined;
}

/** From now on the key's signatures without a time are refused. */
export async function noteSignsTime(database: Database, signingKey: string): Promise<void> {
  await database.kysely
    .updateTable('client_keys')
    .set({ signs_time: true })
    .where('signing_key', '=', signingKey)
    .execute();
}

/** Those that were not revoked, oldest first. */
export async function listRootKeys(database: Database): Promise<RootKey[]> {
  const rows = await database.kysely
    .selectFrom('root_keys')
    .selectAll()
    .where('revoked_at', 'is', null)
    .orderBy('created_at')
    .execute();
  return rows.map((row) => ({
    verifyingKey: row.verifying_key,
    wallet: row.wallet,
    walletAddress: row.wallet_address,
    createdAt: row.created_at,
  }));
}

/** Null also for one that was revoked, itself or by its root key. */
export async function findClientKey(
  database: Database,
  signingKey: string,
): Promise<ClientKey | null> {
  const row = await clientKeys(database)
    .where('client_keys.signing_key', '=', signingKey)
    .executeTakeFirst();
  return row === undefined ? null : clientKeyOf(row);
}

/** Those that were not revoked, oldest first; of one context, or all. */
export async function listClientKeys(
  database: Database,
  contextId: ContextId | null = null,
): Promise<ClientKey[]> {
  let query = clientKeys(database).orderBy('client_keys.created_at');
  if (contextId !== null) {
    query = query.where('client_keys.context_id', '=', Buffer.from(decodeId(contextId)));
  }
  return (await query.execute()).map(clientKeyOf);
}

/** Revokes one key, or all of them; a root key takes the client keys that it added with it. */
export async function revokeKeys(
  database: Database,
  which: { readonly key: string } | 'all',
  actor: string,
): Promise<number> {
  return await database.kysely.transaction().execute(async (work) => {
    const revoked = { revoked_at: sql<Date>`now()` };
    let roots = work.updateTable('root_keys').set(revoked).where('revoked_at', 'is', null);
    let clients = work.updateTable('client_keys').set(revoked).where('revoked_at', 'is', null);
    if (which !== 'all') {
      roots = roots.where('verifying_key', '=', which.key);
      clients = clients.where((where) =>
        where.or([where('signing_key', '=', which.key), where('root_key', '=', which.key)]),
      );
    }
    const rootRows = await roots.returning('verifying_key as subject').execute();
    const clientRows = await clients.returning('signing_key as subject').execute();
    for (const { subject } of rootRows) {
      await note(work, { kind: 'root-key-revoked', subject, actor, signature: null });
    }
    for (const { subject } of clientRows) {
      await note(work, { kind: 'client-key-revoked', subject, actor, signature: null });
    }
    return rootRows.length + clientRows.length;
  });
}

/** True for a root key and a client key, also one that was revoked. */
export async function isKnownKey({ kysely }: Database, key: string): Promise<boolean> {
  const roots = kysely.selectFrom('root_keys').select('verifying_key as key');
  const clients = kysely.selectFrom('client_keys').select('signing_key as key');
  const found = roots
    .where('verifying_key', '=', key)
    .unionAll(clients.where('signing_key', '=', key));
  return (await found.executeTakeFirst()) !== undefined;
}

/** The history of all keys, oldest first. */
export async function listIdentityEvents(database: Database): Promise<IdentityEvent[]> {
  const rows = await database.kysely
    .selectFrom('identity_events')
    .selectAll()
    .orderBy('position')
    .execute();
  return rows.map(({ at, kind, subject, actor, signature }) => ({
    at,
    kind: kind as IdentityEvent['kind'],
    subject,
    actor,
    signature,
  }));
}

async function note(work: Transaction<Tables>, event: Omit<IdentityEvent, 'at'>): Promise<void> {
  await work.insertInto('identity_events').values(event).execute();
}

function clientKeys(database: Database) {
  return database.kysely
    .selectFrom('client_keys')
    .innerJoin('root_keys', 'root_keys.verifying_key', 'client_keys.root_key')
    .selectAll('client_keys')
    .where('client_keys.revoked_at', 'is', null)
    .where('root_keys.revoked_at', 'is', null);
}

function clientKeyOf(row: {
  signing_key: string;
  wallet: string;
  context_id: Buffer | null;
  root_key: string;
  signs_time: boolean;
  created_at: Date;
}): ClientKey {
  return {
    signingKey: row.signing_key,
    wallet: row.wallet,
    contextId: row.context_id === null ? null : contextIdFromBytes(row.context_id),
    rootKey: row.root_key,
    signsTime: row.signs_time,
    createdAt: row.created_at,
  };
}
