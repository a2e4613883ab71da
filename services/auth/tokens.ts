import { createHmac, createPublicKey, type KeyObject } from 'node:crypto';
import { decodeProtectedHeader, errors, exportJWK, type JWK, jwtVerify, SignJWT } from 'jose';
import { z } from 'zod';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import { generateKeyPair, privateKeyObject } from '#shared/crypto/ed25519.ts';
import { openBox, sealBox } from '#shared/crypto/sealed-box.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { tokenKeyPurpose } from '#shared/store/secret-store.ts';
import { spend } from '#shared/store/spent-store.ts';
import {
  deleteTokenKeys,
  hasTokenKey,
  insertTokenKey,
  listTokenKeys,
  replaceTokenKeys,
  type TokenKeyRow,
} from '#shared/store/token-key-store.ts';
import type { AuthConfig } from './config.ts';

const claimsSchema = z.object({
  sub: z.string(),
  jti: z.string(),
  iat: z.number(),
  exp: z.number(),
  context_id: z.string(),
  executor_public_key: z.string(),
  token_type: z.enum(['access', 'refresh']),
  /** Only of an operator's token: which admin token and secret key it was made under. */
  operator: z.string().optional(),
});

/** What a token says: `sub` is the principal that made it. */
export type TokenClaims = z.output<typeof claimsSchema>;

export interface TokenPair {
  readonly access_token: string;
  readonly refresh_token: string;
}

interface TokenKey {
  readonly keyId: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  readonly createdAt: Date;
}

const ISSUER = 'cairn';
/** The newest key signs for so long, then a new one is made; old ones verify what they signed. */
const ROTATE_MS = 2_592_000_000;
const RELOAD_MS = 1_000;

/** JWTs for one identity of one context, signed with Ed25519 keys that rotate. */
export class Tokens {
  readonly #deps: ServiceDeps;
  readonly #config: AuthConfig;
  #keys: readonly TokenKey[] = [];
  #loadedMs = 0;

  constructor(deps: ServiceDeps, config: AuthConfig) {
    this.#deps = deps;
    this.#config = config;
  }

  /** Loads the keys; makes a new one when there is none or the newest is old. */
  async rotate(): Promise<void> {
    const { clock, database } = this.#deps;
    await this.#load();
    const newest = this.#keys.at(-1);
    if (newest === undefined || clock.nowMs() - newest.createdAt.getTime() > ROTATE_MS) {
      await insertTokenKey(database, this.#makeKey());
    }
    const longestMs = Math.max(this.#config.refreshTokenMs, this.#config.accessTokenMs);
    await deleteTokenKeys(database, new Date(clock.nowMs() - ROTATE_MS - longestMs));
    await this.#load();
  }

  /** Takes back every token, refresh tokens too: the keys that signed them are forgotten. */
  async revokeAll(): Promise<void> {
    await replaceTokenKeys(this.#deps.database, this.#makeKey());
    await this.#load();
  }

  /** Another replica changed the keys. */
  async reload(): Promise<void> {
    await this.#load();
  }

  /**
   * What an operator's tokens carry. It changes with the admin token and with the secret key, so
   * that changing either of them takes back all that were made before; it tells neither.
   */
  get operatorMark(): string {
    const { adminToken, secretKey } = this.#config;
    const mac = createHmac('sha256', secretKey).update(`operator's tokens ${adminToken}`);
    return encodeBase58(mac.digest().subarray(0, 16));
  }

  /** The public keys, for `/.well-known/jwks.json`. */
  async jwks(): Promise<{ readonly keys: readonly JWK[] }> {
    const keys = this.#keys.map(async ({ keyId, publicKey }) => ({
      ...(await exportJWK(publicKey)),
      kid: keyId,
      use: 'sig',
      alg: 'EdDSA',
    }));
    return { keys: await Promise.all(keys) };
  }

  /** An access and a refresh token; the refresh token is good for one more pair. */
  async issue(
    claims: Pick<TokenClaims, 'sub' | 'context_id' | 'executor_public_key'>,
  ): Promise<TokenPair> {
    const { accessTokenMs, refreshTokenMs } = this.#config;
    // Another replica may have taken the keys back.
    if (this.#isStale()) await this.#load();
    const { sub, context_id, executor_public_key } = claims;
    const isOperator = keyOfMaker(sub) === null;
    const own = {
      sub,
      context_id,
      executor_public_key,
      ...(isOperator ? { operator: this.operatorMark } : {}),
    };
    return {
      access_token: await this.#sign({ ...own, token_type: 'access' }, accessTokenMs),
      refresh_token: await this.#sign({ ...own, token_type: 'refresh' }, refreshTokenMs),
    };
  }

  /** Throws AppError `unauthorized` with the dialect's texts. */
  async verifyAccess(token: string): Promise<TokenClaims> {
    try {
      const claims = await this.#verify(token);
      if (claims.token_type === 'access') return claims;
    } catch (error) {
      if (error instanceof errors.JWTExpired) throw new AppError('unauthorized', 'Token expired.');
      if (!(error instanceof errors.JOSEError) && !(error instanceof z.ZodError)) throw error;
    }
    throw new AppError('unauthorized', 'Token not valid.');
  }

  /** The claims of a refresh token, which is spent by this. Throws AppError `forbidden`. */
  async spendRefresh(token: string): Promise<TokenClaims> {
    let claims: TokenClaims;
    try {
      claims = await this.#verify(token);
    } catch (error) {
      if (error instanceof errors.JWTExpired) {
        throw new AppError('forbidden', 'Refresh token has expired');
      }
      if (error instanceof errors.JOSEError || error instanceof z.ZodError) {
        throw new AppError('forbidden', `Invalid refresh token: ${error.message}`);
      }
      throw error;
    }
    if (claims.token_type !== 'refresh') throw new AppError('forbidden', 'Invalid token type');
    const expiresAt = new Date(claims.exp * 1_000);
    if (await spend(this.#deps.database, 'refresh-token', claims.jti, expiresAt)) return claims;
    throw new AppError('forbidden', 'Refresh token not found');
  }

  async #sign(claims: Omit<TokenClaims, 'jti' | 'iat' | 'exp'>, validMs: number): Promise<string> {
    const key = this.#keys.at(-1);
    if (key === undefined) throw new AppError('unavailable', 'the token keys are not loaded yet');
    const { sub, ...own } = claims;
    const nowMs = this.#deps.clock.nowMs();
    return await new SignJWT(own)
      .setProtectedHeader({ alg: 'EdDSA', kid: key.keyId })
      .setIssuer(ISSUER)
      .setSubject(sub)
      .setJti(encodeBase58(this.#deps.random(16)))
      .setIssuedAt(Math.floor(nowMs / 1_000))
      .setExpirationTime(Math.floor((nowMs + validMs) / 1_000))
      .sign(key.privateKey);
  }

  async #verify(token: string): Promise<TokenClaims> {
    const kid = keyIdOf(token);
    const key = await this.#publicKeyOf(kid);
    const { payload } = await jwtVerify(token, key, {
      algorithms: ['EdDSA'],
      issuer: ISSUER,
      currentDate: new Date(this.#deps.clock.nowMs()),
    });
    // Not from memory: a key that another replica took back verifies nothing from that moment.
    if (kid === undefined || !(await hasTokenKey(this.#deps.database, kid))) {
      throw new errors.JWSInvalid('unknown key');
    }
    return claimsSchema.parse(payload);
  }

  /** Another replica may have made a key since the last look. */
  async #publicKeyOf(keyId: string | undefined): Promise<KeyObject> {
    const find = () => this.#keys.find((key) => key.keyId === keyId)?.publicKey;
    if (find() === undefined && this.#isStale()) await this.#load();
    const key = find();
    if (key === undefined) throw new errors.JWSInvalid('unknown key');
    return key;
  }

  #isStale(): boolean {
    return this.#deps.clock.monotonicMs() - this.#loadedMs > RELOAD_MS;
  }

  #makeKey(): Omit<TokenKeyRow, 'createdAt'> {
    const { random } = this.#deps;
    const { publicKey, privateKey } = generateKeyPair(random);
    const keyId = encodeBase58(publicKey.subarray(0, 8));
    const { secretKey } = this.#config;
    const sealedPrivateKey = sealBox(secretKey, privateKey, tokenKeyPurpose(keyId), random);
    return { keyId, publicKey, sealedPrivateKey };
  }

  async #load(): Promise<void> {
    this.#loadedMs = this.#deps.clock.monotonicMs();
    const rows = await listTokenKeys(this.#deps.database);
    this.#keys = rows.map(({ keyId, sealedPrivateKey, createdAt }) => {
      const privateKey = privateKeyObject(this.#unseal(keyId, sealedPrivateKey));
      return { keyId, privateKey, publicKey: createPublicKey(privateKey), createdAt };
    });
  }

  #unseal(keyId: string, sealed: Uint8Array): Uint8Array {
    try {
      return openBox(this.#config.secretKey, sealed, tokenKeyPurpose(keyId));
    } catch (error) {
      const reason =
        'node.secretKey does not open the token keys in the database: give the right one';
      throw new Error(reason, { cause: error });
    }
  }
}

/** The client key that made a token, from its subject; null when an operator did. */
export function keyOfMaker(sub: string): string | null {
  return /^client-key:(.+)$/.exec(sub)?.[1] ?? null;
}

/** Undefined for a token that is none: its verification says so. */
function keyIdOf(token: string): string | undefined {
  try {
    return decodeProtectedHeader(token).kid;
  } catch {
    return undefined;
  }
}
