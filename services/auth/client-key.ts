import { tryDecodeBase58 } from '#shared/crypto/base58.ts';

/** libp2p's protobuf of an ed25519 public key: type 1 (ed25519), 32 bytes of data. */
const PROTOBUF_PREFIX = Buffer.from('08011220', 'hex');

/** The 32 bytes of a client key from base58 of its libp2p form; null when it is none. */
export function decodeClientKey(signingKey: string): Uint8Array | null {
  const bytes = tryDecodeBase58(signingKey, 60);
  const isEd25519 = bytes?.length === 36 && PROTOBUF_PREFIX.equals(bytes.subarray(0, 4));
  return isEd25519 ? bytes.subarray(4) : null;
}
