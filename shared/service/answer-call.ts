import type { Logger } from 'pino';
import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import { PERMISSION_OF_CALL, type Principal } from '#shared/domain/permissions.ts';
import { parsePublicKey } from '#shared/protocol/ids.ts';
import type { ExecuteReply, ExecuteRequest } from '#shared/protocol/internal-messages.ts';
import { encodeError, encodeResult, type RpcError } from '#shared/protocol/json-rpc.ts';
import type { ParsedCall } from '#shared/protocol/json-rpc-call.ts';
import { rpcErrorOf } from '#shared/protocol/rpc-error.ts';
import { authorize } from './authorize.ts';

export interface CallOptions {
  readonly execute: (request: ExecuteRequest) => Promise<ExecuteReply>;
  readonly log: Logger;
}

/**
 * Checks the permission, has the call executed and words the answer, also of what went wrong. Throws
 * AppError `unauthorized` for a caller that has no credentials.
 */
export async function answerCall(
  options: CallOptions,
  parsed: ParsedCall,
  principal: Principal,
): Promise<string> {
  const { contextId, method, payload, executorPublicKey, requestId, reportFuel } = parsed.params;
  let reply: ExecuteReply;
  try {
    authorize(principal, PERMISSION_OF_CALL[parsed.method], contextId);
    reply = await options.execute({
      kind: parsed.method,
      contextId,
      method,
      payload,
      executorPublicKey: identityOf(principal, executorPublicKey, contextId),
      principal: principal.id,
      requestId,
    });
  } catch (error) {
    if (!(error instanceof AppError)) options.log.error({ err: error }, 'a call failed');
    else if (error.code === 'unauthorized') throw error;
    return encodeError(parsed.id, rpcErrorOf(parsed.method, error));
  }
  const { status, output, error } = reply.outcome;
  const fuelUsed = reportFuel ? reply.outcome.fuelUsed : null;
  if (status === 'failed') {
    const failure: RpcError = {
      type: 'FunctionCallError',
      data: error ?? 'unknown failure',
      ...(fuelUsed !== null && { fuelUsed: fuelUsed.toString() }),
    };
    return encodeError(parsed.id, failure);
  }
  return encodeResult(parsed.id, output, { ...reply, fuelUsed });
}

/** A token is for one identity, and for no other. */
function identityOf(
  { executorPublicKey }: Principal,
  asked: PublicKey | null,
  contextId: ContextId,
): PublicKey | null {
  if (executorPublicKey === null) return asked;
  if (asked === null || asked === executorPublicKey) return parsePublicKey(executorPublicKey);
  throw new AppError('forbidden', 'the token is for another identity', {
    contextId,
    publicKey: asked,
  });
}
