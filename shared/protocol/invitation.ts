import { decodeId, encodeBase58, tryDecodeBase58 } from '#shared/crypto/base58.ts';
import { signEd25519, verifyEd25519 } from '#shared/crypto/ed25519.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import { borshString } from './borsh.ts';
import { contextIdFromBytes, publicKeyFromBytes } from './ids.ts';

/** Lets one identity join one context, once, until it expires. */
export interface Invitation {
  readonly contextId: ContextId;
  readonly inviteeId: PublicKey;
  readonly inviterId: PublicKey;
  /** 16 bytes that make it single-use. */
  readonly nonce: Uint8Array;
  /** Unix milliseconds. */
  readonly expiresMs: number;
}

const PROTOCOL = 'cairn';
const SIGNATURE_BYTES = 64;
const NONCE_BYTES = 16;
const PAYLOAD_CHARS_MAX = 1_024;

/**
 * Base58 of borsh: context id, invitee id, protocol, network and contract id (strings, as the
 * dialect has them; the last two are empty), then what Cairn adds: inviter id, nonce, expiry (u64)
 * and the inviter's ed25519 signature over all before it.
 */
export function encodeInvitation(invitation: Invitation, inviterKey: Uint8Array): string {
  const expiry = Buffer.alloc(8);
  expiry.writeBigUInt64LE(BigInt(invitation.expiresMs));
  const unsigned = Buffer.concat([
    decodeId(invitation.contextId),
    decodeId(invitation.inviteeId),
    borshString(PROTOCOL),
    borshString(''),
    borshString(''),
    decodeId(invitation.inviterId),
    invitation.nonce,
    expiry,
  ]);
  return encodeBase58(Buffer.concat([unsigned, signEd25519(inviterKey, unsigned)]));
}

/** Null when it is malformed or not signed by the inviter that it names. */
export function decodeInvitation(payload: string): Invitation | null {
  const decoded = tryDecodeBase58(payload, PAYLOAD_CHARS_MAX);
  if (decoded === null) return null;
  const bytes = Buffer.from(decoded);
  const head = 64 + borshString(PROTOCOL).length + 8;
  const size = head + 32 + NONCE_BYTES + 8 + SIGNATURE_BYTES;
  const strings = Buffer.concat([borshString(PROTOCOL), borshString(''), borshString('')]);
  if (bytes.length !== size || !strings.equals(bytes.subarray(64, head))) return null;
  const inviter = bytes.subarray(head, head + 32);
  const unsigned = bytes.subarray(0, size - SIGNATURE_BYTES);
  if (!verifyEd25519(inviter, unsigned, bytes.subarray(size - SIGNATURE_BYTES))) return null;
  return {
    contextId: contextIdFromBytes(bytes.subarray(0, 32)),
    inviteeId: publicKeyFromBytes(bytes.subarray(32, 64)),
    inviterId: publicKeyFromBytes(inviter),
    nonce: bytes.subarray(head + 32, head + 32 + NONCE_BYTES),
    expiresMs: Number(bytes.readBigUInt64LE(head + 32 + NONCE_BYTES)),
  };
}
