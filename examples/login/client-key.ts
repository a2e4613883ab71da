import { createHash, generateKeyPairSync, randomUUID, sign, type KeyObject } from 'node:crypto';

/**
 * The application's own key: a wallet signs for it once, then it signs every request by itself.
 * Keep `privateKey` where the application keeps its secrets.
 */
export class ClientKey {
  /** Base58 of 08 01 12 20 and the 32 bytes of the Ed25519 key; also `publicKey` of a login. */
  readonly signingKey: string;
  readonly #privateKey: KeyObject;
  readonly #walletType: 'ETH' | 'NEAR';

  constructor(walletType: 'ETH' | 'NEAR') {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const raw = Buffer.from(publicKey.export({ format: 'jwk' }).x ?? '', 'base64url');
    this.signingKey = base58(Buffer.concat([Buffer.from('08011220', 'hex'), raw]));
    this.#privateKey = privateKey;
    this.#walletType = walletType;
  }

  /** Headers for one request, good once and for a minute. `path` is without its query string. */
  headers(method: string, path: string): Record<string, string> {
    const payload = `${Date.now()} ${randomUUID()} ${method} ${path}`;
    const challenge = createHash('sha256').update(payload).digest();
    return {
      wallet_type: JSON.stringify({ type: this.#walletType }),
      signing_key: this.signingKey,
      challenge_payload: payload,
      challenge: base58(challenge),
      // The 32 bytes are signed, not their base58.
      signature: base58(sign(null, challenge, this.#privateKey)),
    };
  }
}

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';

/** Base58 as Bitcoin has it: a `1` for each leading zero byte. */
function base58(bytes: Uint8Array): string {
  let value = BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
  let text = '';
  for (; value > 0n; value /= 58n) text = `${ALPHABET[Number(value % 58n)]}${text}`;
  const zeros = bytes.findIndex((byte) => byte !== 0);
  return '1'.repeat(zeros === -1 ? bytes.length : zeros) + text;
}
