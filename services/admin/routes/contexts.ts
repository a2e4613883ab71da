import { encodeId } from '#shared/crypto/base58.ts';
import { generateKeyPair, keyPairOf } from '#shared/crypto/ed25519.ts';
import { decodeId } from '#shared/crypto/base58.ts';
import { sealBox } from '#shared/crypto/sealed-box.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import {
  type ContextAnswer,
  createContextAnswer,
  createContextSchema,
} from '#shared/protocol/admin-api.ts';
import {
  contextIdFromBytes,
  parseApplicationId,
  parseContextId,
  publicKeyFromBytes,
} from '#shared/protocol/ids.ts';
import { requestExecution } from '#shared/service/request-execution.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { listMembers } from '#shared/store/member-store.ts';
import { type ContextRow, findContext, listContexts } from '#shared/store/transaction-log.ts';
import type { AdminConfig } from '../config.ts';
import type { AdminRouter } from '../http.ts';
import { BodyError, readJson } from '../json-body.ts';

export function addContextRoutes(
  router: AdminRouter,
  deps: ServiceDeps,
  config: AdminConfig,
): void {
  const { bus, clock, database, random } = deps;

  router.post('/contexts', async (context) => {
    const body = await readJson(context.req, createContextSchema, config.bodyBytesMax);
    const applicationId = parseApplicationId(body.applicationId);
    const seed = body.contextSeed == null ? random(32) : parseSeed(body.contextSeed);
    const contextId = contextIdFromBytes(keyPairOf(seed).publicKey);
    const member = generateKeyPair(random);
    const memberPublicKey = publicKeyFromBytes(member.publicKey);
    await requestExecution(
      bus,
      clock,
      {
        kind: 'create',
        contextId,
        applicationId,
        payload: body.initializationParams,
        memberPublicKey,
        sealedPrivateKey: sealBox(
          config.secretKey,
          member.privateKey,
          `member ${contextId} ${memberPublicKey}`,
          random,
        ),
        principal: context.state.principal.id,
      },
      clock.nowMs() + config.requestMs,
    );
    context.body = { data: createContextAnswer(contextId, memberPublicKey) };
  });

  router.get('/contexts', async (context) => {
    const rows = await listContexts(database);
    context.body = { data: { contexts: rows.map(answerOf) } };
  });

  router.get('/contexts/:id', async (context) => {
    const answer = answerOf(await loadContext(context.params['id']));
    context.body = { data: { ...answer, context: answer } };
  });

  router.delete('/contexts/:id', async (context) => {
    const contextId = parseId(context.params['id']);
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
  });

  router.get('/contexts/:id/storage', async (context) => {
    const { stateBytes } = await loadContext(context.params['id']);
    context.body = { data: { sizeInBytes: stateBytes } };
  });

  router.get('/contexts/:id/identities', async (context) => {
    context.body = { data: { identities: await identities(context.params['id'], false) } };
  });

  router.get('/contexts/:id/identities-owned', async (context) => {
    context.body = { data: { identities: await identities(context.params['id'], true) } };
  });

  async function loadContext(text: string | undefined): Promise<ContextRow> {
    const row = await findContext(database, parseId(text));
    if (row === null || row.deletedAt !== null) {
      throw new AppError('not_found', 'Context not found');
    }
    return row;
  }

  async function identities(text: string | undefined, ownedOnly: boolean): Promise<string[]> {
    const { contextId } = await loadContext(text);
    const members = await listMembers(database, contextId);
    return members.filter(({ isOwned }) => isOwned || !ownedOnly).map(({ publicKey }) => publicKey);
  }
}

function parseId(text: string | undefined): ContextId {
  try {
    return parseContextId(text);
  } catch {
    throw new AppError('invalid_request', 'Invalid context id');
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

function answerOf({ contextId, applicationId, head, rootHash }: ContextRow): ContextAnswer {
  return {
    id: contextId,
    applicationId,
    lastTransactionHash: head.hash,
    rootHash: rootHash === null ? head.hash : encodeId(rootHash),
  };
}
