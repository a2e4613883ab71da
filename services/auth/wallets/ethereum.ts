import { keccak_256 } from '@noble/hashes/sha3.js';
import { AppError } from '#shared/domain/app-error.ts';
import { recoverPublicKey } from './secp256k1.ts';

/**
 * Verifies an EIP-191 personal signature: `verifyingKey` is the `0x` address, `signature` hex of
 * r, s and v. Throws AppError `invalid_request` with the dialect's text when it does not fit.
 */
export function verifyEthereum(verifyingKey: string, signature: string, message: string): void {
  const hex = signature.replace(/^0x/, '');
  if (!/^([0-9a-f]{2})*$/i.test(hex)) throw refused('Cannot decode signature.');
  const bytes = Buffer.from(hex, 'hex');
  if (bytes.length !== 65) throw refused('Signature must be 65 bytes long.');
  const recovery = (bytes[64] ?? 0) - ((bytes[64] ?? 0) >= 27 ? 27 : 0);
  const publicKey = recoverPublicKey(bytes.subarray(0, 64), recovery, personalHash(message));
  if (publicKey === null) throw refused('Cannot recover public key.');
  if (addressOf(publicKey) !== verifyingKey.toLowerCase()) {
    throw refused('Public key and account does not match.');
  }
}

/** Keccak-256 of the EIP-191 form (version 0x45) of a text. */
function personalHash(message: string): Uint8Array {
  const bytes = Buffer.from(message);
  const prefix = Buffer.from(`\u0019Ethereum Signed Message:\n${bytes.length}`);
  return keccak_256(Buffer.concat([prefix, bytes]));
}

/** The address of an uncompressed public key: the last 20 bytes of its hash. */
function addressOf(publicKey: Uint8Array): string {
  return `0x${Buffer.from(keccak_256(publicKey.subarray(1)).subarray(-20)).toString('hex')}`;
}

function refused(text: string): AppError {
  return new AppError('invalid_request', text);
}
