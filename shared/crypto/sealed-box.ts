import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { Random } from '#shared/util/random.ts';

const VERSION = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Encrypts a secret at rest with AES-256-GCM under a 32-byte key. `purpose` is authenticated with
 * it, so that a box cannot be moved to another row.
 *
 * Layout: version (1 byte, 1), nonce (12), tag (16), ciphertext.
 */
export function sealBox(
  key: Uint8Array,
  plaintext: Uint8Array,
  purpose: string,
  random: Random,
): Uint8Array {
  const nonce = random(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', key, nonce).setAAD(Buffer.from(purpose));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([Buffer.from([VERSION]), nonce, cipher.getAuthTag(), ciphertext]);
}

/** Opens what `sealBox` made. Throws when the key, the purpose or a byte differs. */
export function openBox(key: Uint8Array, box: Uint8Array, purpose: string): Uint8Array {
  if (box[0] !== VERSION || box.length < 1 + NONCE_BYTES + TAG_BYTES) {
    throw new Error('not a sealed box of a known version');
  }
  const nonce = box.subarray(1, 1 + NONCE_BYTES);
  const tag = box.subarray(1 + NONCE_BYTES, 1 + NONCE_BYTES + TAG_BYTES);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
    .setAAD(Buffer.from(purpose))
    .setAuthTag(tag);
  const ciphertext = box.subarray(1 + NONCE_BYTES + TAG_BYTES);
  return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
}
