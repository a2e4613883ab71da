import { hash } from 'node:crypto';

const BYTES = 32;

/**
 * SHA-256 of one buffer. The one-shot form is twice as fast as the streaming one, and a text of the
 * digest's bytes is made twice as fast as a Buffer of them.
 */
export function sha256(bytes: Uint8Array | string): Uint8Array {
  const text = hash('sha256', bytes, 'binary');
  const digest = new Uint8Array(BYTES);
  for (let i = 0; i < BYTES; i += 1) digest[i] = text.charCodeAt(i);
  return digest;
}
