import type { ContextId } from '#shared/domain/ids.ts';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import type { ExecutionInput, ExecutionResult } from '#shared/runtime/runtime.ts';

export const CONTEXT_ID: ContextId = contextIdFromBytes(new Uint8Array(32).fill(7));
export const EXECUTOR_KEY = publicKeyFromBytes(new Uint8Array(32).fill(9));
/** Beyond 2^53, so that a double would not do. */
export const TIME_NS = 1_234_567_890_123_456_789n;
const FUEL_LIMIT = 1_000_000_000n;

interface CallOptions {
  readonly readOnly?: boolean;
  readonly fuelLimit?: bigint;
  /** The bytes of the arguments as they are, instead of JSON. */
  readonly payload?: Uint8Array;
}

export interface Called extends ExecutionResult {
  /** The output's text, or null when there is none. */
  readonly text: string | null;
  /** The output's JSON. */
  readonly output: unknown;
  readonly error: string | null;
}

/** Runs a program on a state that it keeps, with inputs that never change. */
export function hostOf(program: { execute(input: ExecutionInput): ExecutionResult }) {
  const state = new Map<string, Uint8Array>();
  return {
    state,
    call: (method: string, args: unknown = {}, options: CallOptions = {}): Called => {
      const result = program.execute({
        contextId: CONTEXT_ID,
        state,
        readOnly: options.readOnly ?? false,
        request: {
          kind: 'mutate',
          method,
          payload: options.payload ?? Buffer.from(JSON.stringify(args)),
          executorPublicKey: EXECUTOR_KEY,
          principal: 'test',
          requestId: null,
          timeNs: TIME_NS,
          randomSeed: new Uint8Array(32).fill(3),
          executionVersion: EXECUTION_VERSION,
          fuelLimit: options.fuelLimit ?? FUEL_LIMIT,
        },
      });
      const { changes, output, error } = result.outcome;
      for (const { key, value } of changes) {
        const name = Buffer.from(key).toString('latin1');
        if (value === null) state.delete(name);
        else state.set(name, value);
      }
      const text = output === null ? null : Buffer.from(output).toString();
      return { ...result, text, output: text === null ? null : JSON.parse(text), error };
    },
  };
}
