import { answers } from '#shared/protocol/admin-answers.ts';
import { encodeId } from '#shared/crypto/base58.ts';
import { generateKeyPair, keyPairOf } from '#shared/crypto/ed25519.ts';
import { decodeId } from '#shared/crypto/base58.ts';
import { sealBox } from '#shared/crypto/sealed-box.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { can, type Principal } from '#shared/domain/permissions.ts';
import {
  type ContextAnswer,
  createContextAnswer,
  createContextSchema,
  forkContextSchema,
  upgradeContextSchema,
} from '#shared/protocol/admin-api.ts';
import {
  contextIdFromBytes,
  parseApplicationId,
  publicKeyFromBytes,
} from '#shared/protocol/ids.ts';
import { requestExecution } from '#shared/service/request-execution.ts';
import { type DoorContext, parseContextIdOf, type Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import {
  type ContextHead,
  type ContextRow,
  findContext,
  listContexts,
} from '#shared/store/transaction-log.ts';
import type { AdminConfig } from '../config.ts';
import { demandCapability, demandIdentity, parseKey } from './members.ts';
import { memberPurpose } from '#shared/store/secret-store.ts';
import { BodyError, readJson } from '#shared/service/json-body.ts';

export function contextRoutes(deps: ServiceDeps, config: AdminConfig): readonly Route[] {
  const { bus, clock, database, random } = deps;
  const read = { permission: 'context_read', on: 'path' } as const;
  return [
    {
      method: 'post',
      path: '/contexts',
      summary: 'Creates a context and waits for its init.',
      body: createContextSchema,
      answer: answers.membership,
      rule: { permission: 'context_create' },
      handle: create,
    },
    {
      method: 'post',
      path: '/contexts/:id/fork',
      summary: 'Makes a context that goes on from the log of this one.',
      body: forkContextSchema,
      answer: answers.fork,
      rule: { permission: 'context_fork', on: 'path' },
      handle: fork,
    },
    {
      method: 'get',
      path: '/contexts',
      summary: 'Lists the contexts that the caller may see.',
      answer: answers.contexts,
      rule: { permission: 'context_read', on: 'some' },
      handle: list,
    },
    {
      method: 'get',
      path: '/contexts/:id',
      summary: 'Shows a context.',
      answer: answers.context,
      rule: read,
      handle: show,
    },
    {
      method: 'delete',
      path: '/contexts/:id',
      summary: 'Deletes a context; false when there is none.',
      answer: answers.deleted,
      rule: { permission: 'context_delete', on: 'path' },
      handle: remove,
    },
    {
      method: 'get',
      path: '/contexts/:id/storage',
      summary: 'Tells the size of a context’s state.',
      answer: answers.storage,
      rule: read,
      handle: storage,
    },
    {
      method: 'post',
      path: '/contexts/:id/application',
      summary: 'Gives a context another application.',
      body: upgradeContextSchema,
      answer: answers.nothing,
      rule: { permission: 'context_upgrade', on: 'path' },
      handle: upgrade,
    },
  ];

  async function create(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, createContextSchema, config.bodyBytesMax);
    const applicationId = parseApplicationId(body.applicationId);
    const begun = beginContext(body.contextSeed, context.state.principal);
    await requestExecution(
      bus,
      clock,
      { kind: 'create', ...begun, applicationId, payload: body.initializationParams },
      clock.nowMs() + config.requestMs,
    );
    context.body = { data: createContextAnswer(begun.contextId, begun.memberPublicKey) };
  }

  /** The caller gets an identity of its own in the fork; the members of the parent are not in it. */
  async function fork(context: DoorContext): Promise<void> {
    const { contextId: parentId } = await loadContext(context.params['id']);
    const body = await readJson(context.req, forkContextSchema, config.bodyBytesMax);
    const sequence = body.sequence == null ? null : BigInt(body.sequence);
    const begun = beginContext(body.contextSeed, context.state.principal);
    await requestExecution(
      bus,
      clock,
      { kind: 'fork', ...begun, parentId, sequence },
      clock.nowMs() + config.requestMs,
    );
    const { contextId, memberPublicKey } = begun;
    const { forkedFrom } = answerOf(await loadContext(contextId));
    context.body = { data: { ...createContextAnswer(contextId, memberPublicKey), forkedFrom } };
  }

  /** The id of a context to be, and its first member, whose key the node keeps. */
  function beginContext(seedText: string | null | undefined, { id: principal }: Principal) {
    const seed = seedText == null ? random(32) : parseSeed(seedText);
    const contextId = contextIdFromBytes(keyPairOf(seed).publicKey);
    const member = generateKeyPair(random);
    const memberPublicKey = publicKeyFromBytes(member.publicKey);
    const purpose = memberPurpose(contextId, memberPublicKey);
    const sealedPrivateKey = sealBox(config.secretKey, member.privateKey, purpose, random);
    return { contextId, memberPublicKey, sealedPrivateKey, principal };
  }

  /** Those that the caller may see. */
  async function list(context: DoorContext): Promise<void> {
    const { principal } = context.state;
    const rows = (await listContexts(database)).filter(({ contextId }) =>
      can(principal, 'context_read', contextId),
    );
    context.body = { data: { contexts: rows.map(answerOf) } };
  }

  async function show(context: DoorContext): Promise<void> {
    const answer = answerOf(await loadContext(context.params['id']));
    context.body = { data: { ...answer, context: answer } };
  }

  async function remove(context: DoorContext): Promise<void> {
    const contextId = parseContextIdOf(context.params['id']);
    const { id: principal } = context.state.principal;
    const deadlineMs = clock.nowMs() + config.requestMs;
    const isDeleted = await requestExecution(
      bus,
      clock,
      { kind: 'delete', contextId, principal },
      deadlineMs,
    ).then(
      () => true,
      (error: unknown) => {
        if (error instanceof AppError && error.code === 'context_not_found') return false;
        throw error;
      },
    );
    context.body = { data: { isDeleted } };
  }

  /** Another application on the same state; a migration that fails leaves everything as it was. */
  async function upgrade(context: DoorContext): Promise<void> {
    const { contextId } = await loadContext(context.params['id']);
    const body = await readJson(context.req, upgradeContextSchema, config.bodyBytesMax);
    const asked = body.executorPublicKey ?? context.state.principal.executorPublicKey;
    const executorPublicKey = asked === null ? null : parseKey(asked);
    if (executorPublicKey !== null) {
      demandIdentity(context.state.principal, executorPublicKey);
      await demandCapability(database, contextId, executorPublicKey, 'ManageApplication');
    }
    const { outcome } = await requestExecution(
      bus,
      clock,
      {
        kind: 'upgrade',
        contextId,
        applicationId: parseApplicationId(body.applicationId),
        migrationMethod: body.migrationMethod ?? null,
        executorPublicKey,
        principal: context.state.principal.id,
      },
      clock.nowMs() + config.requestMs,
    );
    if (outcome.status === 'failed') {
      throw new AppError('invalid_request', `the context keeps its application: ${outcome.error}`);
    }
    context.body = { data: null };
  }

  async function storage(context: DoorContext): Promise<void> {
    const { stateBytes } = await loadContext(context.params['id']);
    context.body = { data: { sizeInBytes: stateBytes } };
  }

  async function loadContext(text: string | undefined): Promise<ContextRow> {
    const row = await findContext(database, parseContextIdOf(text));
    if (row === null || row.deletedAt !== null) {
      throw new AppError('not_found', 'Context not found');
    }
    return row;
  }
}

function parseSeed(text: string): Uint8Array {
  try {
    return decodeId(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'invalid';
    throw new BodyError(
      422,
      `Failed to deserialize the JSON body into the target type: contextSeed: ${reason}`,
    );
  }
}

function answerOf({
  contextId,
  applicationId,
  head,
  rootHash,
  forkedFrom,
}: ContextHead): ContextAnswer {
  return {
    id: contextId,
    applicationId,
    lastTransactionHash: head.hash,
    rootHash: rootHash === null ? head.hash : encodeId(rootHash),
    ...(forkedFrom && {
      forkedFrom: { ...forkedFrom, sequence: forkedFrom.sequence.toString() },
    }),
  };
}
