import { tryDecodeBase58 } from '#shared/crypto/base58.ts';
import { verifyEd25519 } from '#shared/crypto/ed25519.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import { AppError } from '#shared/domain/app-error.ts';
import {
  can,
  type Grant,
  PERMISSIONS,
  type Principal,
  UNRESTRICTED,
} from '#shared/domain/permissions.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import type { Credentials, VerifyReply } from '#shared/service/authenticate.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { type ClientKey, findClientKey, noteSignsTime } from '#shared/store/key-store.ts';
import { spend } from '#shared/store/spent-store.ts';
import type { AccessRules } from './access-rules.ts';
import { decodeClientKey } from './client-key.ts';
import type { AuthConfig } from './config.ts';
import { isEqual } from './login.ts';
import type { RateLimits } from './rate-limits.ts';
import { keyOfMaker, type TokenClaims, type Tokens } from './tokens.ts';

export interface VerifierOptions {
  readonly deps: ServiceDeps;
  readonly config: AuthConfig;
  readonly nodePublicKey: Uint8Array;
  readonly tokens: Tokens;
  readonly limits: RateLimits;
  readonly rules: () => AccessRules;
}

const OF_A_TOKEN = [
  'context_read',
  'context_query',
  'context_mutate',
  'context_subscribe',
] as const;
const NODE_SKEW_MS = 5_000;
const SIGNED_TIME_SKEW_MS = 60_000;
const EXTRACTION = 'Failed to extract authentication headers.';

/** Judges the credentials of a request: who it is, and what it may do. */
export class Verifier {
  readonly #options: VerifierOptions;

  constructor(options: VerifierOptions) {
    this.#options = options;
  }

  /** Never throws for bad credentials: the reply says why they are refused. */
  async verify(credentials: Credentials): Promise<VerifyReply> {
    try {
      return { principal: await this.#principalOf(credentials) };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (error.code !== 'unauthorized' && error.code !== 'rate_limited') throw error;
      const { retryAfter } = error.details;
      return { refusal: error.message, ...(retryAfter === undefined ? {} : { retryAfter }) };
    }
  }

  /** Wrong credentials are refused also where none are needed: their sender expects them to count. */
  async #principalOf(credentials: Credentials): Promise<Principal> {
    const { token, headers, isLoopback, address, isRecheck = false } = credentials;
    const { config, limits, rules } = this.#options;
    if (token !== null && isEqual(token, config.adminToken)) {
      return operator('admin-token', 'admin');
    }
    const isSigned = headers['signing_key'] !== undefined || headers['x-signature'] !== undefined;
    if (token !== null || isSigned || headers['signature'] !== undefined) {
      if (isRecheck) return await this.#fromSigned(credentials);
      await limits.takeAttempt(address);
      const principal = await this.#fromSigned(credentials);
      await limits.giveBack(address);
      return principal;
    }
    if (config.open && isLoopback) {
      return operator('open', 'local');
    }
    return {
      id: 'anonymous',
      kind: 'anonymous',
      grants: rules().anonymous,
      executorPublicKey: null,
    };
  }

  async #fromSigned(credentials: Credentials): Promise<Principal> {
    const { token, headers, isRecheck = false } = credentials;
    if (token !== null) return await this.#fromToken(token);
    if (headers['x-signature'] !== undefined) return this.#fromNodeHeaders(headers, isRecheck);
    return await this.#fromWalletHeaders(credentials);
  }

  async #fromToken(token: string): Promise<Principal> {
    const claims = await this.#options.tokens.verifyAccess(token);
    const maker = await this.demandMaker(claims);
    const contextId = parseContextId(claims.context_id);
    const identity = claims.executor_public_key;
    const makerNames = maker === null ? [] : namesOf(maker);
    const names = [`jwt:${claims.sub}`, `identity:${identity}`, ...makerNames];
    const builtIn: Grant[] = [{ permissions: OF_A_TOKEN, contexts: [contextId] }];
    const rules = this.#options.rules();
    const own = { grants: rules.grantsFor(names, builtIn) };
    const makers = {
      grants: maker === null ? UNRESTRICTED : rules.grantsFor(makerNames, grantsOf(maker)),
    };
    // Never more than its maker has, nor outside of its context, nor another token.
    const permissions = PERMISSIONS.filter(
      (permission) =>
        permission !== 'token_create' &&
        can(own, permission, contextId) &&
        can(makers, permission, contextId),
    );
    const grants = [{ permissions, contexts: [contextId] }];
    return {
      id: `identity:${identity}`,
      kind: 'jwt',
      grants,
      executorPublicKey: identity,
      expiresMs: claims.exp * 1_000,
    };
  }

  /**
   * A token lives no longer than the client key that made it; an operator's, for whom this is null,
   * no longer than the admin token and the secret key. Throws AppError `unauthorized`.
   */
  async demandMaker({
    sub,
    iat,
    context_id: contextId,
    operator,
  }: Pick<TokenClaims, 'sub' | 'iat' | 'context_id' | 'operator'>): Promise<ClientKey | null> {
    const signingKey = keyOfMaker(sub);
    if (signingKey === null) {
      if (operator === this.#options.tokens.operatorMark) return null;
      throw refused('Token not valid.');
    }
    const key = await this.#demandKey(signingKey);
    const isOfThisLogin = iat >= Math.floor(key.createdAt.getTime() / 1_000);
    const isOfItsContext = key.contextId === null || key.contextId === contextId;
    if (isOfThisLogin && isOfItsContext) return key;
    throw refused('Token not valid.');
  }

  /** The node's own key over the text of a Unix time, as its operator's tools send it. */
  #fromNodeHeaders(headers: Readonly<Record<string, string>>, isRecheck: boolean): Principal {
    const { clock } = this.#options.deps;
    const timestamp = headers['x-timestamp'] ?? '';
    const isTimely =
      isRecheck ||
      (/^[1-9]\d{0,14}$/.test(timestamp) &&
        Math.abs(clock.nowMs() - Number(timestamp) * 1_000) <= NODE_SKEW_MS);
    const signature = decoded(headers['x-signature']);
    const { nodePublicKey } = this.#options;
    if (
      !isTimely ||
      signature === null ||
      !verifyEd25519(nodePublicKey, Buffer.from(timestamp), signature)
    ) {
      throw refused('');
    }
    return operator('node-key', 'node-key');
  }

  async #fromWalletHeaders(credentials: Credentials): Promise<Principal> {
    const { headers } = credentials;
    const signingKey = headers['signing_key'];
    const challenge = decoded(headers['challenge']);
    const signature = decoded(headers['signature']);
    const isWhole = isWalletType(headers['wallet_type']) && signingKey !== undefined;
    if (!isWhole || challenge?.length !== 32 || signature?.length !== 64) throw refused(EXTRACTION);
    const publicKey = decodeClientKey(signingKey);
    if (publicKey === null) throw refused('Invalid client key.');
    const key = await this.#demandKey(signingKey);
    if (!verifyEd25519(publicKey, challenge, signature)) {
      throw refused('Invalid signature for provided key.');
    }
    if (!credentials.isRecheck) await this.#demandFreshness(credentials, key, challenge);
    const named = headers['context_id'];
    if (key.contextId !== null && named !== undefined && named !== key.contextId) {
      throw refused('The client key is for another context.');
    }
    const grants = this.#options.rules().grantsFor(namesOf(key), grantsOf(key));
    return { id: `client-key:${signingKey}`, kind: 'client-key', grants, executorPublicKey: null };
  }

  /**
   * With the optional header `challenge_payload`, `<unix ms> <nonce> <METHOD> <path>`, a signature is
   * good for that request once, within a minute. Without it, its key must have logged in lately.
   */
  async #demandFreshness(
    { headers, method, path }: Credentials,
    key: ClientKey,
    challenge: Uint8Array,
  ): Promise<void> {
    const { config, deps } = this.#options;
    const nowMs = deps.clock.nowMs();
    const payload = headers['challenge_payload'];
    if (payload === undefined) {
      if (key.signsTime) throw refused('The client key signs the time: send challenge_payload.');
      if (nowMs - key.createdAt.getTime() <= config.untimedHeadersMs) return;
      throw refused('The client key is too old for headers without a signed time: log in again.');
    }
    const [time = '', nonce = '', signedMethod, signedPath] = payload.split(' ');
    const isBound =
      Buffer.compare(sha256(payload), challenge) === 0 &&
      signedMethod === method &&
      signedPath === path &&
      nonce !== '';
    if (!isBound) throw refused('The signed challenge is not about this request.');
    const isNow =
      /^[1-9]\d{0,15}$/.test(time) && Math.abs(nowMs - Number(time)) <= SIGNED_TIME_SKEW_MS;
    if (!isNow) {
      throw refused('The signed challenge is not of now.');
    }
    const expiresAt = new Date(Number(time) + 2 * SIGNED_TIME_SKEW_MS);
    const value = `${key.signingKey} ${payload}`;
    if (!(await spend(deps.database, 'signed-headers', value, expiresAt))) {
      throw refused('The signed challenge was used already.');
    }
    if (!key.signsTime) await noteSignsTime(deps.database, key.signingKey);
  }

  async #demandKey(signingKey: string): Promise<ClientKey> {
    const key = await findClientKey(this.#options.deps.database, signingKey);
    if (key === null) throw refused('Client key does not exist.');
    return key;
  }
}

/** The access file is the operator's, so it does not apply: it cannot lock its writer out. */
function operator(kind: Principal['kind'], id: string): Principal {
  return { id, kind, grants: UNRESTRICTED, executorPublicKey: null };
}

/** Under these the access file knows a key. */
function namesOf({ signingKey, rootKey }: ClientKey): readonly string[] {
  return [`client-key:${signingKey}`, `root-key:${rootKey}`];
}

/** A key without a context is its owner's on the whole node; one with a context stays in it. */
function grantsOf({ contextId }: ClientKey): readonly Grant[] {
  if (contextId === null) return UNRESTRICTED;
  return [
    {
      permissions: [
        'context_read',
        'context_query',
        'context_mutate',
        'context_subscribe',
        'identity_read',
        'token_create',
      ],
      contexts: [contextId],
    },
    { permissions: ['application_read', 'blob_read'], contexts: '*' },
  ];
}

function isWalletType(text: string | undefined): boolean {
  try {
    const value = JSON.parse(text ?? '') as { type?: unknown } | null;
    return typeof value?.type === 'string';
  } catch {
    return false;
  }
}

function decoded(text: string | undefined): Uint8Array | null {
  return text === undefined ? null : tryDecodeBase58(text, 120);
}

function refused(text: string): AppError {
  return new AppError('unauthorized', text);
}
