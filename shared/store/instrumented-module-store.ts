import { decodeId } from '#shared/crypto/base58.ts';
import type { BlobId } from '#shared/domain/ids.ts';
import type { Database } from './database.ts';

/** A module with metering, and what the host must know of it, as JSON. */
export interface StoredModule {
  readonly code: Uint8Array;
  readonly facts: unknown;
}

export async function findInstrumentedModule(
  database: Database,
  blobId: BlobId,
  version: string,
): Promise<StoredModule | null> {
  const row = await database.kysely
    .selectFrom('instrumented_modules')
    .select(['code', 'facts'])
    .where('blob_id', '=', Buffer.from(decodeId(blobId)))
    .where('version', '=', version)
    .executeTakeFirst();
  return row ?? null;
}

/** Idempotent: the same module and version always give the same bytes. */
export async function insertInstrumentedModule(
  database: Database,
  blobId: BlobId,
  version: string,
  { code, facts }: StoredModule,
): Promise<void> {
  await database.kysely
    .insertInto('instrumented_modules')
    .values({
      blob_id: Buffer.from(decodeId(blobId)),
      version,
      code: Buffer.from(code),
      facts: JSON.stringify(facts),
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}
