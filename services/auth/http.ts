import { answers } from '#shared/protocol/admin-answers.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { PublicKey } from '#shared/domain/ids.ts';
import { can } from '#shared/domain/permissions.ts';
import {
  addKeySchema,
  clientKeyAnswer,
  generateTokenSchema,
  refreshTokenSchema,
  requestChallengeSchema,
  revokeKeySchema,
} from '#shared/protocol/auth-api.ts';
import { parseContextId, parsePublicKey } from '#shared/protocol/ids.ts';
import { credentialsOf } from '#shared/service/authenticate.ts';
import { authorize } from '#shared/service/authorize.ts';
import { readJson } from '#shared/service/json-body.ts';
import { type DoorContext, parseContextIdOf, type Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import {
  isKnownKey,
  listClientKeys,
  listIdentityEvents,
  listRootKeys,
  revokeKeys,
} from '#shared/store/key-store.ts';
import { listMembers } from '#shared/store/member-store.ts';
import { issueChallenge } from './challenge.ts';
import type { AuthConfig } from './config.ts';
import { type Login, normalized } from './login.ts';
import type { RateLimits } from './rate-limits.ts';
import type { Tokens } from './tokens.ts';
import type { Verifier } from './verify.ts';

export interface AuthRoutesOptions {
  readonly deps: ServiceDeps;
  readonly config: AuthConfig;
  readonly login: Login;
  readonly tokens: Tokens;
  readonly limits: RateLimits;
  readonly verifier: Verifier;
  /** The node's own public key. */
  readonly nodeKey: PublicKey;
  /** Keys or rules changed: every replica must look again. */
  readonly onChanged: () => void;
  /** Gives warnings. Throws AppError `invalid_request` when the access file cannot be used. */
  readonly reloadAccess: () => Promise<readonly string[]>;
}

const BODY_BYTES_MAX = 65_536;

/** Login, keys and tokens: the part of the Admin API that the auth service answers. */
export function authRoutes(options: AuthRoutesOptions): readonly Route[] {
  const { deps, config, login, tokens, limits, verifier, nodeKey, onChanged, reloadAccess } =
    options;
  const { clock, database, random } = deps;
  return [
    {
      method: 'post',
      path: '/admin-api/request-challenge',
      summary: 'Gives a challenge to sign.',
      body: requestChallengeSchema,
      answer: answers.challenge,
      rule: 'public',
      handle: challenge,
    },
    {
      method: 'post',
      path: '/admin-api/add-client-key',
      summary: 'Adds a client key by a wallet’s signature.',
      body: addKeySchema,
      answer: answers.stored,
      rule: 'public',
      handle: addClientKey,
    },
    {
      method: 'post',
      path: '/admin-api/refresh-jwt-token',
      summary: 'Gives new tokens for a refresh token, once.',
      body: refreshTokenSchema,
      answer: answers.tokens,
      rule: 'public',
      handle: refresh,
    },
    {
      method: 'get',
      path: '/.well-known/jwks.json',
      summary: 'Gives the public keys of the tokens.',
      answer: answers.jwks,
      rule: 'public',
      handle: jwks,
    },
    nodeKeyRoute(nodeKey),
    {
      method: 'post',
      path: '/admin-api/root-key',
      summary: 'Adds a root key.',
      body: addKeySchema,
      answer: answers.stored,
      rule: { permission: 'identity_manage' },
      handle: addRootKey,
    },
    {
      method: 'get',
      path: '/admin-api/did',
      summary: 'Lists root keys and client keys.',
      answer: answers.did,
      rule: { permission: 'identity_read' },
      handle: readDid,
    },
    {
      method: 'delete',
      path: '/admin-api/did',
      summary: 'Revokes all keys and all tokens.',
      answer: answers.nothing,
      rule: { permission: 'identity_manage' },
      handle: async (context) => {
        await revoke('all', context);
        context.body = { data: null };
      },
    },
    {
      method: 'delete',
      path: '/admin-api/identity/keys',
      summary: 'Revokes all keys and all tokens; an empty answer.',
      rule: { permission: 'identity_manage' },
      // Upstream drops the body that it built; its clients expect none.
      handle: async (context) => {
        await revoke('all', context);
        context.status = 200;
        context.body = '';
      },
    },
    {
      method: 'post',
      path: '/admin-api/identity/keys/revoke',
      summary: 'Revokes one key, and those that it added.',
      body: revokeKeySchema,
      answer: answers.revoked,
      rule: { permission: 'identity_manage' },
      handle: revokeOne,
    },
    {
      method: 'get',
      path: '/admin-api/identity/history',
      summary: 'Tells who added and revoked which key.',
      answer: answers.history,
      rule: { permission: 'identity_read' },
      handle: async (context) => {
        context.body = { data: { events: await listIdentityEvents(database) } };
      },
    },
    {
      method: 'post',
      path: '/admin-api/generate-jwt-token',
      summary: 'Makes tokens for an identity of a context.',
      body: generateTokenSchema,
      answer: answers.tokens,
      rule: { permission: 'token_create', on: 'some' },
      handle: generateToken,
    },
    reloadRoute(reloadAccess),
  ];

  function addressOf(context: DoorContext): string {
    return deps.proxies.addressOf(context.req);
  }

  async function challenge(context: DoorContext): Promise<void> {
    await limits.take(addressOf(context));
    const body = await readJson(context.req, requestChallengeSchema, BODY_BYTES_MAX);
    const contextId = body.contextId == null ? null : parseContextIdOf(body.contextId);
    context.body = { data: issueChallenge(config.nodeKey, contextId, { clock, random }) };
  }

  async function addClientKey(context: DoorContext): Promise<void> {
    await limits.take(addressOf(context));
    const body = await readJson(context.req, addKeySchema, BODY_BYTES_MAX);
    await login.addClientKey(body, await operatorOf(context));
    onChanged();
    context.body = { data: 'Client key stored' };
  }

  async function addRootKey(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, addKeySchema, BODY_BYTES_MAX);
    await login.addRootKey(body, context.state.principal.id);
    onChanged();
    context.body = { data: 'Root key stored' };
  }

  /** The operator's own token may stand for the setup token. */
  async function operatorOf(context: DoorContext): Promise<string | null> {
    if (context.req.headers.authorization === undefined) return null;
    const reply = await verifier.verify(credentialsOf(context.req, deps.proxies));
    const mayAdd = 'principal' in reply && can(reply.principal, 'identity_manage');
    return mayAdd ? reply.principal.id : null;
  }

  async function readDid(context: DoorContext): Promise<void> {
    const [roots, clients] = await Promise.all([listRootKeys(database), listClientKeys(database)]);
    const rootKeys = roots.map(({ verifyingKey, wallet, walletAddress, createdAt }) => ({
      signing_key: verifyingKey,
      wallet: JSON.parse(wallet) as unknown,
      wallet_address: walletAddress,
      created_at: createdAt.getTime(),
    }));
    const did = { id: 'did:cali', root_keys: rootKeys, client_keys: clients.map(clientKeyAnswer) };
    context.body = { data: { did } };
  }

  async function revokeOne(context: DoorContext): Promise<void> {
    const { key } = await readJson(context.req, revokeKeySchema, BODY_BYTES_MAX);
    const name = normalized(key);
    if (!(await isKnownKey(database, name))) {
      throw new AppError('not_found', 'There is no such root key or client key.');
    }
    context.body = { data: { revoked: await revoke({ key: name }, context) } };
  }

  async function revoke(which: 'all' | { key: string }, context: DoorContext): Promise<number> {
    const revoked = await revokeKeys(database, which, context.state.principal.id);
    // An operator's tokens hang on no key: all go.
    if (which === 'all') await tokens.revokeAll();
    onChanged();
    return revoked;
  }

  async function generateToken(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, generateTokenSchema, BODY_BYTES_MAX);
    const contextId = parseContextIdOf(body.contextId);
    const { principal } = context.state;
    authorize(principal, 'token_create', contextId);
    const members = await listMembers(database, contextId);
    const isMember = members.some(({ publicKey }) => publicKey === body.executorPublicKey);
    if (!isMember) {
      throw new AppError('invalid_request', 'The executor is not a member of the context.');
    }
    context.body = {
      data: await tokens.issue({
        sub: principal.id,
        context_id: parseContextId(contextId),
        executor_public_key: parsePublicKey(body.executorPublicKey),
      }),
    };
  }

  async function refresh(context: DoorContext): Promise<void> {
    await limits.take(addressOf(context));
    const { refreshToken } = await readJson(context.req, refreshTokenSchema, BODY_BYTES_MAX);
    const claims = await tokens.spendRefresh(refreshToken);
    await verifier.demandMaker(claims);
    context.body = { data: await tokens.issue(claims) };
  }

  async function jwks(context: DoorContext): Promise<void> {
    context.body = await tokens.jwks();
  }
}

function nodeKeyRoute(nodeKey: PublicKey): Route {
  return {
    method: 'get',
    path: '/admin-api/node-key',
    summary: 'Gives the public key that the node signs heads of logs with.',
    answer: answers.nodeKey,
    rule: 'public',
    handle: (context) => {
      context.body = { data: { nodeKey } };
    },
  };
}

function reloadRoute(reloadAccess: AuthRoutesOptions['reloadAccess']): Route {
  return {
    method: 'post',
    path: '/admin-api/access/reload',
    summary: 'Reads the access file again; warns of principals that the node does not know.',
    answer: answers.reloaded,
    rule: { permission: 'access_reload' },
    handle: async (context) => {
      context.body = { data: { warnings: await reloadAccess() } };
    },
  };
}
