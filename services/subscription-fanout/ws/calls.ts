import { AppError } from '#shared/domain/app-error.ts';
import type { Principal } from '#shared/domain/permissions.ts';
import { encodeError, parseJsonRpcBody } from '#shared/protocol/json-rpc.ts';
import type { ParsedCall } from '#shared/protocol/json-rpc-call.ts';
import { rpcErrorOf } from '#shared/protocol/rpc-error.ts';
import { answerCall, type CallOptions } from '#shared/service/answer-call.ts';

export interface CallsOptions extends CallOptions {
  /** Calls under way over all connections. */
  readonly callsMax: number;
}

/** Answers calls that came as frames as `/jsonrpc` does, always with a JSON-RPC answer. */
export class Calls {
  readonly #options: CallsOptions;
  #underWay = 0;

  constructor(options: CallsOptions) {
    this.#options = options;
  }

  /** Never rejects. `isRefused` answers that there are too many already. */
  async answer(body: string, principal: Principal, isRefused: boolean): Promise<string> {
    const parsed = parseJsonRpcBody(Buffer.from(body), 0);
    if (parsed.kind === 'batch') throw new Error('a frame is one call');
    if (parsed.kind === 'malformed') {
      return encodeError('null', { type: 'ParseError', data: parsed.text });
    }
    if (parsed.kind === 'error') return encodeError(parsed.id, parsed.error);
    if (isRefused || this.#underWay >= this.#options.callsMax) {
      return refusal(parsed, new AppError('overloaded', 'too many calls are under way'));
    }
    this.#underWay += 1;
    try {
      return await answerCall(this.#options, parsed, principal);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      // Over HTTP it has no answer in the dialect, but a status.
      const { contextId } = parsed.params;
      return refusal(parsed, new AppError('forbidden', error.message, { contextId }));
    } finally {
      this.#underWay -= 1;
    }
  }
}

function refusal({ id, method }: ParsedCall, error: AppError): string {
  return encodeError(id, rpcErrorOf(method, error));
}
