import { createHash } from 'node:crypto';
import { decodeId } from '#shared/crypto/base58.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { BlobId } from '#shared/domain/ids.ts';
import { blobIdFromBytes } from '#shared/protocol/ids.ts';
import type { Database } from './database.ts';

/** Bytes per chunk of a blob. */
const CHUNK_BYTES = 1_048_576;

export interface BlobInfo {
  readonly blobId: BlobId;
  readonly size: number;
  /** SHA-256 of the whole content. */
  readonly sha256: Uint8Array;
}

/** The id of some bytes: SHA-256 over the SHA-256 of each 1 MiB chunk, also when there is one. */
export function blobIdOf(bytes: Uint8Array): BlobId {
  const ids: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES) {
    ids.push(sha256(bytes.subarray(at, at + CHUNK_BYTES)));
  }
  return blobIdFromBytes(sha256(Buffer.concat(ids)));
}

/**
 * Stores bytes as they arrive, all or nothing; storing the same bytes again changes nothing.
 * Throws AppError `payload_too_large`, and `invalid_request` when their SHA-256 is not `sha256`.
 */
export async function putBlob(
  database: Database,
  source: Uint8Array | AsyncIterable<Uint8Array>,
  limits: { readonly bytesMax: number; readonly sha256?: Uint8Array | null },
): Promise<BlobInfo> {
  const chunks: Buffer[] = [];
  const ids: Uint8Array[] = [];
  const whole = createHash('sha256');
  let size = 0;
  for await (const chunk of chunksOf(source, limits.bytesMax)) {
    chunks.push(chunk);
    ids.push(sha256(chunk));
    whole.update(chunk);
    size += chunk.length;
  }
  const id = sha256(Buffer.concat(ids));
  const hash = whole.digest();
  if (limits.sha256 != null && Buffer.compare(limits.sha256, hash) !== 0) {
    throw new AppError('invalid_request', 'the SHA-256 of the content is not the given hash');
  }
  await database.kysely.transaction().execute(async (work) => {
    const row = await work
      .insertInto('blobs')
      .values({ blob_id: Buffer.from(id), size: size.toString(), sha256: hash })
      .onConflict((conflict) => conflict.doNothing())
      .returning('blob_id')
      .executeTakeFirst();
    if (row === undefined) return;
    for (const [position, bytes] of chunks.entries()) {
      await work
        .insertInto('blob_chunks')
        .values({ blob_id: Buffer.from(id), position, bytes })
        .execute();
    }
  });
  return { blobId: blobIdFromBytes(id), size, sha256: hash };
}

async function* chunksOf(
  source: Uint8Array | AsyncIterable<Uint8Array>,
  bytesMax: number,
): AsyncGenerator<Buffer> {
  let held: Uint8Array[] = [];
  let heldBytes = 0;
  let total = 0;
  for await (const part of source instanceof Uint8Array ? [source] : source) {
    total += part.length;
    if (total > bytesMax) throw new AppError('payload_too_large', `more than ${bytesMax} bytes`);
    held.push(part);
    heldBytes += part.length;
    if (heldBytes < CHUNK_BYTES) continue;
    const joined = Buffer.concat(held);
    let at = 0;
    for (; joined.length - at >= CHUNK_BYTES; at += CHUNK_BYTES) {
      yield joined.subarray(at, at + CHUNK_BYTES);
    }
    held = [joined.subarray(at)];
    heldBytes = joined.length - at;
  }
  if (heldBytes > 0) yield Buffer.concat(held);
}

export async function findBlob(database: Database, blobId: BlobId): Promise<BlobInfo | null> {
  const row = await database.kysely
    .selectFrom('blobs')
    .selectAll()
    .where('blob_id', '=', bytesOf(blobId))
    .executeTakeFirst();
  return row === undefined ? null : { blobId, size: Number(row.size), sha256: row.sha256 };
}

/** One chunk of at most 1 MiB, or null past the end. */
export async function readBlobChunk(
  database: Database,
  blobId: BlobId,
  position: number,
): Promise<Buffer | null> {
  const row = await database.kysely
    .selectFrom('blob_chunks')
    .select('bytes')
    .where('blob_id', '=', bytesOf(blobId))
    .where('position', '=', position)
    .executeTakeFirst();
  return row?.bytes ?? null;
}

/** The bytes of a blob from `start` to before `end`, in order; nothing when it is not here. */
export async function* streamBlob(
  database: Database,
  blobId: BlobId,
  { start, end }: { readonly start: number; readonly end: number } = { start: 0, end: Infinity },
): AsyncGenerator<Buffer> {
  for (let position = Math.floor(start / CHUNK_BYTES); ; position += 1) {
    const at = position * CHUNK_BYTES;
    const chunk = at < end ? await readBlobChunk(database, blobId, position) : null;
    if (chunk === null) return;
    yield chunk.subarray(Math.max(0, start - at), Math.min(chunk.length, end - at));
  }
}

export async function readBlob(database: Database, blobId: BlobId): Promise<Uint8Array | null> {
  const chunks: Buffer[] = [];
  for await (const chunk of streamBlob(database, blobId)) chunks.push(chunk);
  if (chunks.length === 0 && (await findBlob(database, blobId)) === null) return null;
  return Buffer.concat(chunks);
}

/** All blobs, oldest first. */
export async function listBlobs(database: Database): Promise<BlobInfo[]> {
  const rows = await database.kysely
    .selectFrom('blobs')
    .selectAll()
    .orderBy('created_at')
    .execute();
  return rows.map((row) => ({
    blobId: blobIdFromBytes(row.blob_id),
    size: Number(row.size),
    sha256: row.sha256,
  }));
}

/** True when the blob was here. */
export async function deleteBlob(database: Database, blobId: BlobId): Promise<boolean> {
  const result = await database.kysely
    .deleteFrom('blobs')
    .where('blob_id', '=', bytesOf(blobId))
    .executeTakeFirst();
  return result.numDeletedRows > 0n;
}

function bytesOf(blobId: BlobId): Buffer {
  return Buffer.from(decodeId(blobId));
}
