import { hashes, verify } from '@noble/ed25519';
import { sha256, sha512 } from '@noble/hashes/sha2.js';

/** Hashes and signatures without `node:crypto`: slower, but the same in every browser. */
hashes.sha512 = sha512;

const SIGNATURE_BYTES = 64;
const PUBLIC_KEY_BYTES = 32;

export function portableSha256(bytes: Uint8Array): Uint8Array {
  return sha256(bytes);
}

/** By RFC 8032, strictly: one message has one signature. False for malformed input. */
export function portableVerifyEd25519(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  try {
    return verify(signature, message, publicKey, { zip215: false });
  } catch {
    return false;
  }
}
