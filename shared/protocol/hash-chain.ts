import { encodeId } from '#shared/crypto/base58.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import type { TransactionHash } from '#shared/domain/ids.ts';
import { type HashedFields, hashedBytes } from './hash-encoding.ts';

/** The Calimero transaction hash: see [hash-encoding.ts](hash-encoding.ts). */
export function transactionHash(fields: HashedFields): TransactionHash {
  return encodeId(transactionHashBytes(fields)) as TransactionHash;
}

/** The 32 bytes of it. */
export function transactionHashBytes(fields: HashedFields): Uint8Array {
  return sha256(hashedBytes(fields));
}
