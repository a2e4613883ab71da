import { createHash } from 'node:crypto';
import { generateKeyPairFromSeed, publicKeyToProtobuf } from '@libp2p/crypto/keys';
import { Wallet } from 'ethers';
import { KeyPair, KeyPairSigner } from 'near-api-js';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import type { Challenge } from '#shared/protocol/auth-api.ts';
import type { Client } from './client.ts';

/** Signers that are not Cairn's own code, as applications and wallets use them. */

const RECIPIENT = 'cairn.test';
const CALLBACK_URL = 'http://localhost/confirm';

/** A client key, and the headers that it signs. */
export class ClientKey {
  readonly signingKey: string;
  readonly #sign: (message: Uint8Array) => Promise<Uint8Array>;

  private constructor(signingKey: string, sign: (message: Uint8Array) => Promise<Uint8Array>) {
    this.signingKey = signingKey;
    this.#sign = sign;
  }

  static async make(seed: number): Promise<ClientKey> {
    const pair = await generateKeyPairFromSeed('Ed25519', new Uint8Array(32).fill(seed));
    return new ClientKey(
      encodeBase58(publicKeyToProtobuf(pair.publicKey)),
      async (message) => await pair.sign(message),
    );
  }

  async headers(
    payload: string,
    options: { readonly contextId?: string; readonly isTimed?: boolean } = {},
  ): Promise<Record<string, string>> {
    const challenge = createHash('sha256').update(payload).digest();
    const { contextId, isTimed = false } = options;
    return {
      wallet_type: '{"type":"NEAR","networkId":"testnet"}',
      signing_key: this.signingKey,
      challenge: encodeBase58(challenge),
      signature: encodeBase58(await this.#sign(challenge)),
      ...(contextId === undefined ? {} : { context_id: contextId }),
      ...(isTimed ? { challenge_payload: payload } : {}),
    };
  }
}

export interface WalletSigner {
  readonly verifyingKey: string;
  /** The body of `add-client-key` and `root-key`. */
  sign(challenge: Challenge, publicKey: string, message?: string): Promise<Record<string, unknown>>;
}

export function nearWallet(options: { readonly hasCallback?: boolean } = {}): WalletSigner {
  const callback = options.hasCallback === false ? {} : { callbackUrl: CALLBACK_URL };
  const pair = KeyPair.fromRandom('ed25519');
  const signer = new KeyPairSigner(pair);
  const verifyingKey = pair.getPublicKey().toString();
  return {
    verifyingKey,
    sign: async (challenge, publicKey, message = bindingOf(challenge, publicKey)) => {
      const signed = await signer.signNep413Message('alice.test', {
        message,
        nonce: new Uint8Array(Buffer.from(challenge.nonce, 'base64')),
        recipient: RECIPIENT,
        ...callback,
      });
      return bodyOf(challenge, publicKey, message, {
        walletSignature: Buffer.from(signed.signature).toString('base64'),
        metadata: { recipient: RECIPIENT, ...callback, nonce: challenge.nonce },
        walletMetadata: {
          wallet: { type: 'NEAR', networkId: 'testnet' },
          verifyingKey,
          walletAddress: 'alice.test',
        },
      });
    },
  };
}

export function ethereumWallet(): WalletSigner {
  const wallet = Wallet.createRandom();
  return {
    verifyingKey: wallet.address,
    sign: async (challenge, publicKey, message = bindingOf(challenge, publicKey)) =>
      bodyOf(challenge, publicKey, message, {
        walletSignature: await wallet.signMessage(message),
        metadata: {},
        walletMetadata: { wallet: { type: 'ETH', chainId: 1 }, verifyingKey: wallet.address },
      }),
  };
}

/** What the clients of the dialect have their wallet sign. */
function bindingOf({ nodeSignature }: Challenge, publicKey: string): string {
  return JSON.stringify({ nodeSignature, publicKey });
}

function bodyOf(
  challenge: Challenge,
  publicKey: string,
  message: string,
  {
    metadata,
    ...rest
  }: {
    readonly metadata: object;
    readonly walletSignature: string;
    readonly walletMetadata: object;
  },
): Record<string, unknown> {
  const { contextId } = challenge;
  return {
    ...rest,
    payload: { message: { ...challenge, message, publicKey }, metadata },
    ...(contextId === null ? {} : { contextId }),
  };
}

export async function requestChallenge(
  client: Client,
  contextId: string | null = null,
): Promise<Challenge> {
  const response = await fetch(new URL('/admin-api/request-challenge', client.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ contextId }),
  });
  return ((await response.json()) as { data: Challenge }).data;
}

/** Sends a body without any credentials; gives the status and the answer's text. */
export async function postOpen(
  client: Client,
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<readonly [status: number, text: string]> {
  const response = await fetch(new URL(path, client.url), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  return [response.status, await response.text()];
}
