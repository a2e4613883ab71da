import { tryDecodeBase58 } from '#shared/crypto/base58.ts';

const NEAR_PREFIX = 'ed25519:';
/** The longest base58 of 32 bytes. */
const KEY_CHARS_MAX = 44;

/** True for what a wallet can log in as: a NEAR key, or an address of Ethereum. */
export function isRootKey(text: string): boolean {
  if (/^0x[0-9a-f]{40}$/i.test(text)) return true;
  if (!text.startsWith(NEAR_PREFIX)) return false;
  return tryDecodeBase58(text.slice(NEAR_PREFIX.length), KEY_CHARS_MAX)?.length === 32;
}
