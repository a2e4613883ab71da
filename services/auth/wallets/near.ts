import { tryDecodeBase58 } from '#shared/crypto/base58.ts';
import { verifyEd25519 } from '#shared/crypto/ed25519.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import { borshString } from '#shared/protocol/borsh.ts';

/** What a NEAR wallet signs (NEP-413). */
export interface NearMessage {
  readonly message: string;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
  readonly recipient: string;
  /** Null where the wallet was given none; the empty text is another message. */
  readonly callbackUrl: string | null;
}

/** 2^31 + 413: keeps these messages from being mistaken for transactions. */
const NEP413_TAG = 2_147_484_061;
/** The longest base58 of 32 bytes. */
const KEY_CHARS_MAX = 44;
const KEY_PREFIX = 'ed25519:';

/** Verifies a NEP-413 signature: `verifyingKey` is `ed25519:<base58>`, `signature` base64. */
export function verifyNear(verifyingKey: string, signature: string, signed: NearMessage): boolean {
  if (!verifyingKey.startsWith(KEY_PREFIX) || signed.nonce.length !== 32) return false;
  const publicKey = tryDecodeBase58(verifyingKey.slice(KEY_PREFIX.length), KEY_CHARS_MAX);
  if (publicKey === null) return false;
  const digest = sha256(encodeNep413(signed));
  return verifyEd25519(publicKey, digest, Buffer.from(signature, 'base64'));
}

/** Borsh: u32 tag, string message, 32 bytes nonce, string recipient, option of string callback. */
function encodeNep413({ message, nonce, recipient, callbackUrl }: NearMessage): Buffer {
  return Buffer.concat([
    u32(NEP413_TAG),
    borshString(message),
    nonce,
    borshString(recipient),
    ...(callbackUrl === null ? [Uint8Array.of(0)] : [Uint8Array.of(1), borshString(callbackUrl)]),
  ]);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
