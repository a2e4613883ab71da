import { createRequire } from 'node:module';
import * as portable from '@noble/secp256k1';

interface Native {
  ecdsaRecover(
    signature: Uint8Array,
    recovery: number,
    hash: Uint8Array,
    compressed: boolean,
  ): Uint8Array;
}

/** The native library has no build for every platform; the portable one is slower, and the same. */
export const native: Native | null = loadNative();

/**
 * The uncompressed public key (65 bytes) that signed a hash, or null when there is none:
 * `signature` is r and s, 64 bytes; a high s is refused, as it would be a second valid form.
 */
export function recoverPublicKey(
  signature: Uint8Array,
  recovery: number,
  hash: Uint8Array,
): Uint8Array | null {
  if (recovery > 3) return null;
  try {
    const parsed = portable.Signature.fromBytes(signature, 'compact');
    if (parsed.hasHighS()) return null;
    if (native !== null) return native.ecdsaRecover(signature, recovery, hash, false);
    return recoverPortably(signature, recovery, hash);
  } catch {
    return null;
  }
}

export function recoverPortably(
  signature: Uint8Array,
  recovery: number,
  hash: Uint8Array,
): Uint8Array {
  const recoverable = Uint8Array.from([recovery, ...signature]);
  const compressed = portable.recoverPublicKey(recoverable, hash, { prehash: false });
  return portable.Point.fromBytes(compressed).toBytes(false);
}

function loadNative(): Native | null {
  try {
    return createRequire(import.meta.url)('secp256k1/bindings.js') as Native;
  } catch {
    return null;
  }
}
