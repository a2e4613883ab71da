import { type Kysely, sql } from 'kysely';
import { AppError } from '#shared/domain/app-error.ts';
import type { Tables } from './tables.ts';
import { decodeId } from '#shared/crypto/base58.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import type { ApplicationId, BlobId, ContextId } from '#shared/domain/ids.ts';
import {
  applicationIdFromBytes,
  blobIdFromBytes,
  contextIdFromBytes,
} from '#shared/protocol/ids.ts';
import type { Engine } from '#shared/domain/engine.ts';
import type { Database } from './database.ts';

export interface Application {
  readonly applicationId: ApplicationId;
  readonly blobId: BlobId;
  readonly size: number;
  /** `file://…` for one installed from this machine, else its http(s) URL. */
  readonly source: string;
  readonly metadata: Uint8Array;
  /** What runs it. */
  readonly engine: Engine;
}

/** SHA-256 over borsh of blob id, size (u64 LE), source (string) and metadata (bytes). */
export function applicationIdOf(
  application: Omit<Application, 'applicationId' | 'engine'>,
): ApplicationId {
  const source = Buffer.from(application.source);
  const numbers = Buffer.alloc(16);
  numbers.writeBigUInt64LE(BigInt(application.size), 0);
  numbers.writeUInt32LE(source.length, 8);
  numbers.writeUInt32LE(application.metadata.length, 12);
  return applicationIdFromBytes(
    sha256(
      Buffer.concat([
        decodeId(application.blobId),
        numbers.subarray(0, 12),
        source,
        numbers.subarray(12),
        application.metadata,
      ]),
    ),
  );
}

/** Idempotent: the id says all that the row says. */
export async function insertApplication(
  database: Database,
  application: Application,
): Promise<void> {
  await database.kysely
    .insertInto('applications')
    .values({
      application_id: Buffer.from(decodeId(application.applicationId)),
      blob_id: Buffer.from(decodeId(application.blobId)),
      size: application.size.toString(),
      source: application.source,
      metadata: Buffer.from(application.metadata),
      engine: application.engine,
    })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}

export async function findApplication(
  database: Database,
  applicationId: ApplicationId,
): Promise<Application | null> {
  const row = await database.kysely
    .selectFrom('applications')
    .selectAll()
    .where('application_id', '=', Buffer.from(decodeId(applicationId)))
    .executeTakeFirst();
  return row === undefined ? null : applicationOf(row);
}

/** All installed applications, oldest first. */
export async function listApplications(database: Database): Promise<Application[]> {
  const rows = await database.kysely
    .selectFrom('applications')
    .selectAll()
    .orderBy('installed_at')
    .execute();
  return rows.map(applicationOf);
}

/**
 * Uninstalls an application unless a context that is not deleted is of it, or was before an
 * upgrade; a fork was of all that its log came by, also above itself.
 */
export async function deleteApplication(
  database: Database,
  applicationId: ApplicationId,
): Promise<'deleted' | 'in-use' | 'unknown'> {
  const id = Buffer.from(decodeId(applicationId));
  return await database.kysely.transaction().execute(async (work) => {
    // Whoever makes a context of it holds this row until that is committed.
    const { rows: known } = await sql`
      SELECT 1 FROM applications WHERE application_id = ${id} FOR UPDATE`.execute(work);
    if (known.length === 0) return 'unknown';
    const { rows } = await sql<{ application_id: Buffer }>`
    WITH RECURSIVE part(context, last) AS (
      SELECT context, head_sequence FROM contexts WHERE deleted_at IS NULL
      UNION
      SELECT c.parent_context, c.fork_sequence FROM part p JOIN contexts c ON c.context = p.context
      WHERE c.parent_context IS NOT NULL
    )
    DELETE FROM applications WHERE application_id = ${id} AND NOT EXISTS (
      SELECT FROM contexts WHERE application_id = ${id} AND deleted_at IS NULL)
    AND NOT EXISTS (
      SELECT FROM transactions t JOIN part p ON p.context = t.context AND t.sequence <= p.last
      WHERE t.kind = 'upgrade'
        AND ${id} IN (substring(t.payload FROM 1 FOR 32), substring(t.payload FROM 33)))
    RETURNING application_id`.execute(work);
    return rows.length > 0 ? 'deleted' : 'in-use';
  });
}

/** The contexts that keep an application from being uninstalled, so many at most. */
export async function contextsThatNeed(
  database: Database,
  applicationId: ApplicationId,
  limit: number,
): Promise<readonly ContextId[]> {
  const id = Buffer.from(decodeId(applicationId));
  const { rows } = await sql<{ context_id: Buffer }>`
    WITH RECURSIVE part(needing, context, last) AS (
      SELECT context, context, head_sequence FROM contexts WHERE deleted_at IS NULL
      UNION
      SELECT p.needing, c.parent_context, c.fork_sequence
      FROM part p JOIN contexts c ON c.context = p.context WHERE c.parent_context IS NOT NULL
    )
    SELECT context_id FROM contexts n WHERE deleted_at IS NULL AND (application_id = ${id}
      OR EXISTS (
        SELECT FROM part p JOIN transactions t ON p.context = t.context AND t.sequence <= p.last
        WHERE p.needing = n.context AND t.kind = 'upgrade'
          AND ${id} IN (substring(t.payload FROM 1 FOR 32), substring(t.payload FROM 33))))
    ORDER BY context LIMIT ${limit}`.execute(database.kysely);
  return rows.map((row) => contextIdFromBytes(row.context_id));
}

/** Keeps an application from being uninstalled until the transaction ends. Throws AppError. */
export async function holdApplication(
  work: Kysely<Tables>,
  applicationId: ApplicationId,
): Promise<void> {
  const id = Buffer.from(decodeId(applicationId));
  const { rows } = await sql`
    SELECT 1 FROM applications WHERE application_id = ${id} FOR KEY SHARE`.execute(work);
  if (rows.length > 0) return;
  throw new AppError('application_not_installed', 'Application is not installed on node.', {
    applicationId,
  });
}

/** True when an installed application is made of this blob. */
export async function isBlobInUse(database: Database, blobId: BlobId): Promise<boolean> {
  const row = await database.kysely
    .selectFrom('applications')
    .select('application_id')
    .where('blob_id', '=', Buffer.from(decodeId(blobId)))
    .executeTakeFirst();
  return row !== undefined;
}

function applicationOf(row: {
  application_id: Buffer;
  blob_id: Buffer;
  size: string;
  source: string;
  metadata: Buffer;
  engine: string;
}): Application {
  return {
    applicationId: applicationIdFromBytes(row.application_id),
    blobId: blobIdFromBytes(row.blob_id),
    size: Number(row.size),
    source: row.source,
    metadata: row.metadata,
    engine: row.engine as Engine,
  };
}
