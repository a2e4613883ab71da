import { answers } from '#shared/protocol/admin-answers.ts';
import { z } from 'zod';
import { encodeBase58, encodeId, tryDecodeBase58 } from '#shared/crypto/base58.ts';
import { generateKeyPair, keyPairOf } from '#shared/crypto/ed25519.ts';
import { openBox, sealBox } from '#shared/crypto/sealed-box.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import type { Principal } from '#shared/domain/permissions.ts';
import { clientKeyAnswer } from '#shared/protocol/auth-api.ts';
import { createContextAnswer } from '#shared/protocol/admin-api.ts';
import { parsePublicKey, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { decodeInvitation, encodeInvitation } from '#shared/protocol/invitation.ts';
import { authorize } from '#shared/service/authorize.ts';
import { readJson } from '#shared/service/json-body.ts';
import { type DoorContext, parseContextIdOf, type Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { listClientKeys } from '#shared/store/key-store.ts';
import type { Database } from '#shared/store/database.ts';
import {
  addMember,
  type Capability,
  findSealedKey,
  hasCapability,
  listMembers,
  NO_CONTEXT,
  removeIdentity,
} from '#shared/store/member-store.ts';
import { memberPurpose } from '#shared/store/secret-store.ts';
import { spend } from '#shared/store/spent-store.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import type { AdminConfig } from '../config.ts';

const inviteSchema = z.object({
  contextId: z.string(),
  inviterId: z.string(),
  inviteeId: z.string(),
});
/** Both generations: the older one carries the private key itself. */
const joinSchema = z.object({
  invitationPayload: z.string().optional(),
  invitation_payload: z.string().optional(),
  privateKey: z.string().optional(),
  private_key: z.string().optional(),
});

/** Identities of contexts: who is a member, who may become one, and what members may do. */
export function memberRoutes(deps: ServiceDeps, config: AdminConfig): readonly Route[] {
  const { clock, database, random } = deps;
  const read = { permission: 'context_read', on: 'path' } as const;
  const join = { permission: 'context_create' } as const;
  return [
    {
      method: 'get',
      path: '/contexts/:id/users',
      summary: 'Lists the members of a context.',
      answer: answers.users,
      rule: read,
      handle: users,
    },
    {
      method: 'get',
      path: '/contexts/:id/identities',
      summary: 'Lists the identities of a context.',
      answer: answers.identities,
      rule: read,
      handle: identities(false),
    },
    {
      method: 'get',
      path: '/contexts/:id/identities-owned',
      summary: 'Lists the identities of a context whose keys the node holds.',
      answer: answers.identities,
      rule: read,
      handle: identities(true),
    },
    {
      method: 'get',
      path: '/contexts/:id/client-keys',
      summary: 'Lists the client keys of a context.',
      answer: answers.clientKeys,
      rule: { permission: 'identity_read', on: 'path' },
      handle: clientKeys,
    },
    {
      method: 'post',
      path: '/contexts/invite',
      summary: 'Invites an identity to a context, once.',
      body: inviteSchema,
      answer: answers.invitation,
      rule: { permission: 'context_members', on: 'some' },
      handle: invite,
    },
    {
      method: 'post',
      path: '/contexts/join',
      summary: 'Joins a context by an invitation; null for who is a member.',
      body: joinSchema,
      answer: answers.joined,
      rule: join,
      handle: joinContext,
    },
    {
      method: 'post',
      path: '/identity/context',
      summary: 'Makes an identity that can be invited.',
      answer: answers.identity,
      rule: join,
      handle: makeIdentity,
    },
  ];

  async function users(context: DoorContext): Promise<void> {
    const contextId = await demandContext(database, context.params['id']);
    const members = await listMembers(database, contextId);
    context.body = { data: { contextUsers: members } };
  }

  function identities(ownedOnly: boolean) {
    return async (context: DoorContext): Promise<void> => {
      const members = await listMembers(
        database,
        await demandContext(database, context.params['id']),
      );
      const listed = members.filter(({ isOwned }) => isOwned || !ownedOnly);
      context.body = { data: { identities: listed.map(({ publicKey }) => publicKey) } };
    };
  }

  async function clientKeys(context: DoorContext): Promise<void> {
    const keys = await listClientKeys(database, parseContextIdOf(context.params['id']));
    context.body = { data: { clientKeys: keys.map(clientKeyAnswer) } };
  }

  async function invite(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, inviteSchema, config.bodyBytesMax);
    const contextId = await demandContext(database, body.contextId);
    authorize(context.state.principal, 'context_members', contextId);
    const inviterId = parseKey(body.inviterId);
    demandIdentity(context.state.principal, inviterId);
    const inviteeId = parseKey(body.inviteeId);
    await demandCapability(database, contextId, inviterId, 'ManageMembers');
    const sealed = await findSealedKey(database, contextId, inviterId);
    if (sealed === null) {
      throw new AppError('forbidden', 'this node does not hold the key of the inviter');
    }
    const inviterKey = openBox(config.secretKey, sealed, memberPurpose(contextId, inviterId));
    const expiresMs = clock.nowMs() + config.invitationMs;
    const invitation = { contextId, inviteeId, inviterId, nonce: random(16), expiresMs };
    context.body = { data: encodeInvitation(invitation, inviterKey) };
  }

  async function joinContext(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, joinSchema, config.bodyBytesMax);
    const invitation = decodeInvitation(body.invitationPayload ?? body.invitation_payload ?? '');
    if (invitation === null) throw new AppError('invalid_request', 'invalid invitation payload');
    const { contextId, inviteeId, inviterId, nonce, expiresMs } = invitation;
    await demandContext(database, contextId);
    if (expiresMs < clock.nowMs()) throw new AppError('forbidden', 'the invitation has expired');
    await demandCapability(database, contextId, inviterId, 'ManageMembers');
    const members = await listMembers(database, contextId);
    if (members.some(({ publicKey }) => publicKey === inviteeId)) {
      context.body = { data: null };
      return;
    }
    const privateKey = await privateKeyOf(body.privateKey ?? body.private_key, inviteeId);
    const isFirstUse = await spend(
      database,
      'invitation',
      encodeBase58(nonce),
      new Date(expiresMs),
    );
    if (!isFirstUse) throw new AppError('forbidden', 'the invitation was used already');
    const sealedPrivateKey = sealBox(
      config.secretKey,
      privateKey,
      memberPurpose(contextId, inviteeId),
      random,
    );
    await addMember(database, contextId, { publicKey: inviteeId, sealedPrivateKey });
    await removeIdentity(database, inviteeId);
    context.body = { data: createContextAnswer(contextId, inviteeId) };
  }

  async function makeIdentity(context: DoorContext): Promise<void> {
    const pair = generateKeyPair(random);
    const publicKey = publicKeyFromBytes(pair.publicKey);
    const purpose = memberPurpose(NO_CONTEXT, publicKey);
    const sealedPrivateKey = sealBox(config.secretKey, pair.privateKey, purpose, random);
    await addMember(database, NO_CONTEXT, { publicKey, sealedPrivateKey });
    // Older clients bring the private key to `join` themselves.
    context.body = { data: { publicKey, privateKey: encodeId(pair.privateKey) } };
  }

  /** The private key given, or the one that `identity/context` left here. */
  async function privateKeyOf(
    given: string | undefined,
    inviteeId: PublicKey,
  ): Promise<Uint8Array> {
    if (given === undefined) {
      const sealed = await findSealedKey(database, NO_CONTEXT, inviteeId);
      if (sealed === null) throw new AppError('invalid_request', 'identity mismatch');
      return openBox(config.secretKey, sealed, memberPurpose(NO_CONTEXT, inviteeId));
    }
    const bytes = parsePrivateKey(given);
    if (publicKeyFromBytes(keyPairOf(bytes).publicKey) !== inviteeId) {
      throw new AppError('invalid_request', 'identity mismatch');
    }
    return bytes;
  }
}

/** The context that is named, which is there. Throws AppError `not_found`. */
export async function demandContext(
  database: Database,
  text: string | undefined,
): Promise<ContextId> {
  const contextId = parseContextIdOf(text);
  const row = await findContext(database, contextId);
  if (row !== null && row.deletedAt === null) return contextId;
  throw new AppError('not_found', 'Context not found');
}

/** A token acts as its own identity only. Throws `forbidden`. */
export function demandIdentity({ executorPublicKey }: Principal, publicKey: PublicKey): void {
  if (executorPublicKey === null || executorPublicKey === publicKey) return;
  throw new AppError('forbidden', 'the token is for another identity');
}

/** The first member of a context may do all; others need the capability. Throws `forbidden`. */
export async function demandCapability(
  database: Database,
  contextId: ContextId,
  publicKey: PublicKey,
  capability: Capability,
): Promise<void> {
  const members = await listMembers(database, contextId);
  const isMember = members.some((member) => member.publicKey === publicKey);
  const has =
    isMember &&
    (members[0]?.publicKey === publicKey ||
      (await hasCapability(database, contextId, publicKey, capability)));
  if (!has) throw new AppError('forbidden', `the identity lacks ${capability} in the context`);
}

export function parseKey(text: string): PublicKey {
  try {
    return parsePublicKey(text);
  } catch (error) {
    throw new AppError('invalid_request', error instanceof Error ? error.message : 'invalid key');
  }
}

/** Base58 of the seed, alone or with the public key behind it. */
function parsePrivateKey(text: string): Uint8Array {
  const bytes = tryDecodeBase58(text, 100);
  if (bytes?.length === 32 || bytes?.length === 64) return bytes.subarray(0, 32);
  throw new AppError('invalid_request', 'invalid private key');
}
