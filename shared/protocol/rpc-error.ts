import { AppError, ERROR_TABLE } from '#shared/domain/app-error.ts';
import type { RpcError } from './json-rpc.ts';
import type { RpcMethod } from './json-rpc-call.ts';

/**
 * Translates a refusal to the JSON-RPC taxonomy of the Calimero node server: `query` and `mutate`
 * wrap node errors as its first released version did, `execute` as the version that added it, and
 * Cairn's own `play` likewise.
 */
export function rpcErrorOf(method: RpcMethod, error: unknown): RpcError {
  const known = error instanceof AppError ? error : new AppError('internal', 'internal error');
  const { contextId = '', applicationId = '', publicKey = '', permission } = known.details;
  switch (known.code) {
    case 'context_not_found':
      return callError({ type: 'ContextNotFound', data: { context_id: contextId } });
    case 'application_not_installed': {
      const data = {
        type: 'ApplicationNotInstalled',
        data: { application_id: applicationId },
      };
      if (method === 'execute' || method === 'play') return callError(data);
      return callError({ type: method === 'query' ? 'Query' : 'Mutate', data });
    }
    case 'forbidden':
      return callError({
        type: 'Unauthorized',
        data: {
          context_id: contextId,
          public_key: publicKey,
          ...(permission === undefined ? {} : { permission }),
        },
      });
    case 'function_call_failed':
      return { type: 'FunctionCallError', data: known.message };
    default: {
      const { retryable } = ERROR_TABLE[known.code];
      return { type: 'InternalError', data: { retryable, reason: known.message } };
    }
  }
}

function callError(data: { type: string; data: unknown }): RpcError {
  return { type: 'CallError', data };
}
