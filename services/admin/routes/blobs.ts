import { answers } from '#shared/protocol/admin-answers.ts';
import { Readable } from 'node:stream';
import { z } from 'zod';
import { fileTypeFromBuffer } from 'file-type';
import { decodeId } from '#shared/crypto/base58.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { BlobId } from '#shared/domain/ids.ts';
import { parseBlobId } from '#shared/protocol/ids.ts';
import type { DoorContext, Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { isBlobInUse } from '#shared/store/application-store.ts';
import {
  type BlobInfo,
  deleteBlob,
  findBlob,
  listBlobs,
  putBlob,
  readBlobChunk,
  streamBlob,
} from '#shared/store/blob-store.ts';
import { Gate } from '#shared/util/gate.ts';
import type { AdminConfig } from '../config.ts';

const uploadQuery = z.object({
  hash: z.string().optional().describe('Base58 of the SHA-256 that the bytes must have.'),
});
/** A blob is in memory until its id is known. */
const UPLOADS_MAX = 2;

export function blobRoutes(
  { database }: ServiceDeps,
  { blobBytesMax }: AdminConfig,
): readonly Route[] {
  const uploads = new Gate(UPLOADS_MAX);
  const read = { permission: 'blob_read' } as const;
  const write = { permission: 'blob_write' } as const;
  return [
    {
      method: 'put',
      path: '/blobs',
      summary: 'Stores the body as a blob.',
      query: uploadQuery,
      takesBytes: true,
      answer: answers.blob,
      rule: write,
      handle: upload,
    },
    {
      method: 'get',
      path: '/blobs',
      summary: 'Lists the blobs.',
      answer: answers.blobs,
      rule: read,
      handle: list,
    },
    // Koa answers HEAD with the same headers and drops the body.
    {
      method: 'get',
      path: '/blobs/:id',
      summary: 'Gives the bytes of a blob.',
      givesBytes: true,
      rule: read,
      handle: download,
    },
    {
      method: 'delete',
      path: '/blobs/:id',
      summary: 'Deletes a blob.',
      answer: answers.deletedBlob,
      rule: write,
      handle: remove,
    },
  ];

  async function upload(context: DoorContext): Promise<void> {
    const wanted = context.query['hash'];
    const sha256 = wanted === undefined ? null : parseHash(wanted);
    if (Number(context.req.headers['content-length'] ?? 0) > blobBytesMax) {
      throw new AppError('payload_too_large', `a blob has at most ${blobBytesMax} bytes`);
    }
    const blob = await uploads.run(() =>
      putBlob(database, context.req, { bytesMax: blobBytesMax, sha256 }),
    );
    context.body = { data: { blob_id: blob.blobId, blobId: blob.blobId, size: blob.size } };
  }

  async function list(context: DoorContext): Promise<void> {
    const blobs = await listBlobs(database);
    const answers = blobs.map(({ blobId, size }) => ({ blob_id: blobId, blobId, size }));
    context.body = { data: { blobs: answers } };
  }

  async function download(context: DoorContext): Promise<void> {
    const blobId = parseId(context.params['id']);
    const blob = await findBlob(database, blobId);
    if (blob === null) {
      throw new AppError('not_found', 'Blob not found locally or in network');
    }
    const first = await readBlobChunk(database, blobId, 0);
    setHeaders(context, blob, (await fileTypeFromBuffer(first ?? new Uint8Array()))?.mime);
    if (context.fresh) {
      context.status = 304;
      return;
    }
    const range = rangeOf(context, blob.size);
    context.body = Readable.from(streamBlob(database, blobId, range), { objectMode: false });
    context.length = range.end - range.start;
  }

  async function remove(context: DoorContext): Promise<void> {
    const blobId = parseId(context.params['id']);
    if (await isBlobInUse(database, blobId)) {
      throw new AppError('conflict', 'an installed application is made of this blob');
    }
    if (!(await deleteBlob(database, blobId))) throw new AppError('not_found', 'Blob not found');
    context.body = { blob_id: blobId, blobId, deleted: true };
  }
}

/**
 * The bytes that a single range asks for (RFC 9110, section 14), or all of them. Throws AppError
 * `range_not_satisfiable` for one that begins behind the end.
 */
function rangeOf(context: DoorContext, size: number): { start: number; end: number } {
  const isRanged = isSameAs(context.get('if-range'), context.response.get('etag'));
  const asked = isRanged ? /^bytes=(\d*)-(\d*)$/.exec(context.get('range')) : null;
  const [, first = '', last = ''] = asked ?? [];
  if (first === '' && last === '') return { start: 0, end: size };
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  if (start >= size || end <= start) {
    context.set({ 'content-range': `bytes */${size}`, 'cache-control': 'no-store' });
    throw new AppError('range_not_satisfiable', `the blob has ${size} bytes`);
  }
  context.status = 206;
  context.set('content-range', `bytes ${start}-${end - 1}/${size}`);
  return { start, end };
}

/** `If-Range`: a part of what the caller has already; of anything else it wants the whole. */
function isSameAs(condition: string, etag: string): boolean {
  return condition === '' || condition === etag;
}

/** A blob may hold anything: a browser must neither guess its type nor run it in this origin. */
function setHeaders(context: DoorContext, blob: BlobInfo, mime = 'application/octet-stream'): void {
  const hash = Buffer.from(blob.sha256).toString('hex');
  context.status = 200;
  context.type = mime;
  context.set({
    etag: `"${hash}"`,
    // What a permission guards is in no shared cache, and in none under a URL with the token in it.
    'cache-control': context.query['token'] === undefined ? 'private, no-cache' : 'no-store',
    'accept-ranges': 'bytes',
    'x-blob-id': blob.blobId,
    'x-blob-hash': hash,
    'x-blob-mime-type': mime,
    'access-control-expose-headers':
      'content-length, etag, x-blob-id, x-blob-hash, x-blob-mime-type',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'none'; sandbox",
  });
}

function parseId(text: string | undefined): BlobId {
  try {
    return parseBlobId(text);
  } catch {
    throw new AppError('invalid_request', 'Invalid blob ID format');
  }
}

function parseHash(text: string | string[]): Uint8Array {
  try {
    return decodeId(String(text));
  } catch {
    throw new AppError('invalid_request', 'The provided hash is not a valid format');
  }
}
