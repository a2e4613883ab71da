import { z } from 'zod';
import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import { answers } from '#shared/protocol/admin-answers.ts';
import { readJson } from '#shared/service/json-body.ts';
import type { DoorContext, Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import {
  CAPABILITIES,
  type CapabilityGrant,
  grantCapabilities,
  listCapabilities,
  listMembers,
  revokeCapabilities,
} from '#shared/store/member-store.ts';
import type { AdminConfig } from '../config.ts';
import { demandCapability, demandContext, demandIdentity, parseKey } from './members.ts';

const capabilitiesSchema = z.object({
  capabilities: z.array(z.tuple([z.string(), z.enum(CAPABILITIES)])),
  signer_id: z.string(),
});

/** What members of a context may do beyond calling it. */
export function capabilityRoutes({ database }: ServiceDeps, config: AdminConfig): readonly Route[] {
  const manage = { permission: 'context_members', on: 'path' } as const;
  return [
    {
      method: 'get',
      path: '/contexts/:id/capabilities',
      summary: 'Lists the members of a context with their capabilities.',
      answer: answers.capabilities,
      rule: { permission: 'context_read', on: 'path' },
      handle: list,
    },
    {
      method: 'post',
      path: '/contexts/:id/capabilities/grant',
      summary: 'Lets members do more than call.',
      body: capabilitiesSchema,
      answer: answers.bareNull,
      rule: manage,
      handle: grant,
    },
    {
      method: 'post',
      path: '/contexts/:id/capabilities/revoke',
      summary: 'Takes capabilities back.',
      body: capabilitiesSchema,
      answer: answers.bareNull,
      rule: manage,
      handle: revoke,
    },
  ];

  async function list(context: DoorContext): Promise<void> {
    const contextId = await demandContext(database, context.params['id']);
    const members = await listMembers(database, contextId);
    const granted = await listCapabilities(database, contextId);
    const listed = members.map(({ publicKey }, i) => ({
      publicKey,
      capabilities: CAPABILITIES.filter(
        (capability) =>
          i === 0 || granted.some(([key, name]) => key === publicKey && name === capability),
      ),
    }));
    context.body = { data: { members: listed } };
  }

  async function grant(context: DoorContext): Promise<void> {
    const { contextId, grants, members } = await readChange(context);
    for (const [publicKey] of grants) {
      if (members.includes(publicKey)) continue;
      throw new AppError('invalid_request', `${publicKey} is not a member of the context`);
    }
    await grantCapabilities(database, contextId, grants);
    answerNull(context);
  }

  async function revoke(context: DoorContext): Promise<void> {
    const { contextId, grants, members } = await readChange(context);
    if (grants.some(([publicKey]) => publicKey === members[0])) {
      throw new AppError(
        'conflict',
        'the first member of a context has all capabilities and cannot lose them',
      );
    }
    await revokeCapabilities(database, contextId, grants);
    answerNull(context);
  }

  async function readChange(context: DoorContext): Promise<{
    readonly contextId: ContextId;
    readonly grants: readonly CapabilityGrant[];
    readonly members: readonly PublicKey[];
  }> {
    const contextId = await demandContext(database, context.params['id']);
    const body = await readJson(context.req, capabilitiesSchema, config.bodyBytesMax);
    const signer = parseKey(body.signer_id);
    demandIdentity(context.state.principal, signer);
    await demandCapability(database, contextId, signer, 'ManageMembers');
    const grants = body.capabilities.map(([key, name]) => [parseKey(key), name] as const);
    const members = await listMembers(database, contextId);
    return { contextId, grants, members: members.map(({ publicKey }) => publicKey) };
  }
}

function answerNull(context: DoorContext): void {
  context.type = 'application/json';
  context.body = 'null';
}
