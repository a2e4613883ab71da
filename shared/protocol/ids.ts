import { decodeId, encodeId } from '#shared/crypto/base58.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type {
  ApplicationId,
  BlobId,
  ContextId,
  PublicKey,
  TransactionHash,
} from '#shared/domain/ids.ts';
import { ownText } from '#shared/util/own-text.ts';

const KNOWN_MAX = 10_000;
const known = new Map<string, string>();

/** Checks untrusted text. Throws AppError `invalid_request` with the dialect's words. */
function parseId(text: unknown): string {
  if (typeof text !== 'string') throw new AppError('invalid_request', 'an id is a base58 string');
  const same = known.get(text);
  if (same !== undefined) return same;
  try {
    decodeId(text);
  } catch (error) {
    throw new AppError('invalid_request', error instanceof Error ? error.message : 'invalid id');
  }
  if (known.size >= KNOWN_MAX) known.clear();
  const own = ownText(text);
  known.set(own, own);
  return own;
}

export const parseContextId = (text: unknown): ContextId => parseId(text) as ContextId;
export const parseApplicationId = (text: unknown): ApplicationId => parseId(text) as ApplicationId;
export const parseBlobId = (text: unknown): BlobId => parseId(text) as BlobId;
export const parsePublicKey = (text: unknown): PublicKey => parseId(text) as PublicKey;
export const parseTransactionHash = (text: unknown): TransactionHash =>
  parseId(text) as TransactionHash;

export const contextIdFromBytes = (bytes: Uint8Array): ContextId => encodeId(bytes) as ContextId;
export const applicationIdFromBytes = (bytes: Uint8Array): ApplicationId =>
  encodeId(bytes) as ApplicationId;
export const blobIdFromBytes = (bytes: Uint8Array): BlobId => encodeId(bytes) as BlobId;
export const publicKeyFromBytes = (bytes: Uint8Array): PublicKey => encodeId(bytes) as PublicKey;
export const transactionHashFromBytes = (bytes: Uint8Array): TransactionHash =>
  encodeId(bytes) as TransactionHash;
