import { timingSafeEqual } from 'node:crypto';
import { sha256 } from '#shared/crypto/sha256.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { AddKeyRequest } from '#shared/protocol/auth-api.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import {
  addClientKey,
  addRootKey,
  findRootKey,
  type RootKey,
  wasClaimed,
} from '#shared/store/key-store.ts';
import { spend } from '#shared/store/spent-store.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import { demandBinding } from './binding.ts';
import { verifyAge, verifyNodeSignature } from './challenge.ts';
import { decodeClientKey } from './client-key.ts';
import type { AuthConfig } from './config.ts';
import { verifyEthereum } from './wallets/ethereum.ts';
import { verifyNear } from './wallets/near.ts';
import { demandNearAccount } from './wallets/near-account.ts';

/** A login whose every signature was verified. */
interface VerifiedLogin {
  readonly verifyingKey: string;
  /** JSON text. */
  readonly wallet: string;
  readonly walletAddress: string;
  readonly signature: string;
}

/**
 * Adding client keys and root keys by a wallet's signature. Unlike upstream, nothing is stored
 * before everything was verified, and a nonce is good for one key.
 */
export class Login {
  readonly #deps: ServiceDeps;
  readonly #config: AuthConfig;
  readonly #nodePublicKey: Uint8Array;

  constructor(deps: ServiceDeps, config: AuthConfig, nodePublicKey: Uint8Array) {
    this.#deps = deps;
    this.#config = config;
    this.#nodePublicKey = nodePublicKey;
  }

  /**
   * `operator` is the principal that may add root keys, when it asks. Throws AppError
   * `invalid_request`, with the dialect's texts, `context_not_found`, or `forbidden` for a first key.
   */
  async addClientKey(request: AddKeyRequest, operator: string | null): Promise<void> {
    const { database } = this.#deps;
    const login = this.#verify(request);
    const { verifyingKey, signature } = login;
    const contextId = contextIdOf(request);
    const root = await findRootKey(database, verifyingKey);
    const isKnown = root !== null;
    const onlyFirst = !isKnown && (await this.#claimsTheNode(request, login, operator !== null));
    await this.#demandAccount(login, root);
    if (contextId !== null && (await findContext(database, contextId)) === null) {
      throw new AppError('context_not_found', 'Context not found');
    }
    await this.#spendNonce(request);
    if (!isKnown) {
      const isAdded = await addRootKey(database, login, {
        actor: operator ?? verifyingKey,
        signature,
        onlyFirst,
      });
      if (!isAdded) throw refused('Root key does not exist');
    }
    const { publicKey } = request.payload.message;
    const added = await addClientKey(
      database,
      { signingKey: publicKey, wallet: login.wallet, contextId, rootKey: verifyingKey },
      { actor: verifyingKey, signature },
    );
    if (added === 'of-another-root-key') {
      throw refused('The client key belongs to another root key.');
    }
    if (added === 'for-another-context') {
      throw refused(
        'The client key logged in for another context, or for none: use a new key, or revoke this one first.',
      );
    }
  }

  /**
   * A new root key: the operator says so, or nobody claimed the node yet. True for the last, which holds only while it stays the first.
   */
  async #claimsTheNode(
    request: AddKeyRequest,
    login: VerifiedLogin,
    isOperator: boolean,
  ): Promise<boolean> {
    const { database } = this.#deps;
    if (isOperator) return false;
    if (await wasClaimed(database)) throw refused('Root key does not exist');
    this.#demandSetup(request, login.verifyingKey);
    return true;
  }

  /** One more root key, for a caller that may add one. */
  async addRootKey(request: AddKeyRequest, actor: string): Promise<void> {
    const login = this.#verify(request);
    await this.#demandAccount(login, null);
    await this.#spendNonce(request);
    await addRootKey(this.#deps.database, login, {
      actor,
      signature: login.signature,
      onlyFirst: false,
    });
  }

  /** Everything that can be checked without a database; the order is the dialect's. */
  #verify(request: AddKeyRequest): VerifiedLogin {
    const { walletMetadata, payload, walletSignature } = request;
    const { message, metadata } = payload;
    const type = walletMetadata.wallet.type.toUpperCase();
    const verifyingKey = normalized(walletMetadata.verifyingKey ?? walletMetadata.signingKey ?? '');
    if (type !== 'NEAR' && type !== 'ETH') throw refused('Unsupported wallet type.');
    const isNear = type === 'NEAR';
    if (isNear && metadata.recipient === undefined) throw refused('Invalid metadata.');
    if (decodeClientKey(message.publicKey) === null) throw refused('Invalid client key.');
    const challenge = { ...message, contextId: message.contextId ?? null };
    verifyNodeSignature(this.#nodePublicKey, challenge);
    if (typeof walletSignature !== 'string') throw refused('Invalid wallet signature type.');
    const at = { nowMs: this.#deps.clock.nowMs(), clockSkewMs: this.#config.clockSkewMs };
    demandBinding(message.message, { ...message, verifyingKey }, at);
    verifyWallet(isNear, verifyingKey, walletSignature, payload);
    verifyAge(challenge, this.#deps.clock, this.#config);
    const isOtherContext =
      request.contextId != null && request.contextId !== (message.contextId ?? null);
    if (isOtherContext) throw refused('The context is not the one of the challenge.');
    return {
      verifyingKey,
      wallet: JSON.stringify(walletMetadata.wallet),
      walletAddress: isNear ? (walletMetadata.walletAddress ?? '') : '',
      signature: walletSignature,
    };
  }

  async #spendNonce({ payload }: AddKeyRequest): Promise<void> {
    const { nonce, timestamp } = payload.message;
    const { challengeMs, clockSkewMs } = this.#config;
    const expiresAt = new Date(timestamp * 1_000 + challengeMs + clockSkewMs);
    if (await spend(this.#deps.database, 'challenge', nonce, expiresAt)) return;
    throw refused('The challenge was used already. Please request a new challenge.');
  }

  /** Nobody claims a fresh node by being first. */
  #demandSetup({ setupToken }: AddKeyRequest, verifyingKey: string): void {
    const { firstRootKey } = this.#config;
    if (firstRootKey !== null && verifyingKey === normalized(firstRootKey)) return;
    if (setupToken !== undefined && isEqual(setupToken, this.#config.setupToken)) return;
    throw new AppError(
      'forbidden',
      'The first root key needs the setup token that the node printed when it started.',
    );
  }

  /**
   * A known key is asked about with the account that it came with: who found the key elsewhere may
   * have given it to an account of their own.
   */
  async #demandAccount(login: VerifiedLogin, root: RootKey | null): Promise<void> {
    if (!isNearWallet(login.wallet)) return;
    const known = root !== null && root.walletAddress !== '' ? root : login;
    const { log } = this.#deps;
    await demandNearAccount(known, this.#config.nearRpcUrls, (details, text) =>
      log.warn(details, text),
    );
  }
}

function verifyWallet(
  isNear: boolean,
  verifyingKey: string,
  signature: string,
  { message, metadata }: AddKeyRequest['payload'],
): void {
  if (!isNear) return verifyEthereum(verifyingKey, signature, message.message);
  const signed = {
    message: message.message,
    nonce: Buffer.from(message.nonce, 'base64'),
    recipient: metadata.recipient ?? '',
    callbackUrl: metadata.callbackUrl ?? null,
  };
  if (verifyNear(verifyingKey, signature, signed)) return;
  throw refused('Node signature is invalid. Please check the signature.');
}

function isNearWallet(wallet: string): boolean {
  return (JSON.parse(wallet) as { type: string }).type.toUpperCase() === 'NEAR';
}

/** An address of Ethereum has one spelling here; other keys have one anyway. */
export function normalized(verifyingKey: string): string {
  return /^0x/i.test(verifyingKey) ? verifyingKey.toLowerCase() : verifyingKey;
}

function contextIdOf({ contextId, payload }: AddKeyRequest) {
  const text = contextId ?? payload.message.contextId ?? null;
  return text === null ? null : parseContextId(text);
}

export function isEqual(a: string, b: string): boolean {
  return timingSafeEqual(sha256(a), sha256(b));
}

function refused(text: string): AppError {
  return new AppError('invalid_request', text);
}
