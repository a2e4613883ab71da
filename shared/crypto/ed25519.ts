import { createPrivateKey, createPublicKey } from 'node:crypto';
import type { Random } from '#shared/util/random.ts';

export interface KeyPair {
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
  /** The 32-byte seed of RFC 8032. */
  readonly privateKey: Uint8Array;
}

/** DER of PKCS#8 up to the seed (RFC 8410). */
const PKCS8_PREFIX = Buffer.from('302e020100300506032b657004220420', 'hex');
const PUBLIC_KEY_BYTES = 32;

export function generateKeyPair(random: Random): KeyPair {
  return keyPairOf(random(32));
}

/** The key pair of a 32-byte seed. */
export function keyPairOf(seed: Uint8Array): KeyPair {
  const key = createPrivateKey({
    key: Buffer.concat([PKCS8_PREFIX, seed]),
    format: 'der',
    type: 'pkcs8',
  });
  const spki = createPublicKey(key).export({ format: 'der', type: 'spki' });
  return { publicKey: spki.subarray(-PUBLIC_KEY_BYTES), privateKey: seed };
}
