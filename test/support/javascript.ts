import { type ApplicationId, ZERO_ID } from '#shared/domain/ids.ts';
import type { Outcome } from '#shared/domain/transaction.ts';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import {
  compileJavaScriptProgram,
  runJavaScript,
} from '#shared/runtime/javascript/javascript-program.ts';
import type { ExecutionInput } from '#shared/runtime/runtime.ts';

export const CONTEXT_ID = contextIdFromBytes(new Uint8Array(32).fill(7));
export const EXECUTOR_ID = publicKeyFromBytes(new Uint8Array(32).fill(9));
export const TIME_NS = 1_700_000_000_123_456_789n;

interface CallOptions {
  readonly readOnly?: boolean;
  /** Arguments as they are, instead of as JSON. */
  readonly payload?: string | Uint8Array;
  readonly seed?: number;
  readonly fuelLimit?: bigint;
}

interface Called extends Outcome {
  /** The output as text. */
  readonly text: string | null;
  readonly logs: readonly string[];
  readonly hasRun: boolean;
}

/** An application nobody installed, with a state of its own that its calls change. */
export function openJavaScript(source: string) {
  const program = compileJavaScriptProgram(ZERO_ID as ApplicationId, Buffer.from(source));
  const state = new Map<string, Uint8Array>();
  return {
    program,
    state,
    call: (method: string, args: unknown = {}, options: CallOptions = {}): Called => {
      const payload = Buffer.from(options.payload ?? JSON.stringify(args));
      const input = inputOf(state, { method, payload }, options);
      return applied(state, program.execute(input));
    },
  };
}

/** Runs scripts one after the other against one state. */
export function openScripts() {
  const state = new Map<string, Uint8Array>();
  return (script: string, options: CallOptions = {}): Called => {
    const input = inputOf(state, { method: '', payload: new Uint8Array() }, options);
    return applied(state, runJavaScript(Buffer.from(script), input));
  };
}

function inputOf(
  state: ReadonlyMap<string, Uint8Array>,
  asked: { readonly method: string; readonly payload: Uint8Array },
  { readOnly = false, seed = 3, fuelLimit = 1_000_000_000n }: CallOptions,
): ExecutionInput {
  return {
    contextId: CONTEXT_ID,
    state,
    readOnly,
    request: {
      ...asked,
      kind: 'mutate',
      executorPublicKey: EXECUTOR_ID,
      principal: 'test',
      requestId: null,
      timeNs: TIME_NS,
      randomSeed: new Uint8Array(32).fill(seed),
      executionVersion: EXECUTION_VERSION,
      fuelLimit,
    },
  };
}

function applied(
  state: Map<string, Uint8Array>,
  { outcome, logs, hasRun }: ReturnType<typeof runJavaScript>,
): Called {
  for (const { key, value } of outcome.changes) {
    const name = Buffer.from(key).toString('latin1');
    if (value === null) state.delete(name);
    else state.set(name, value);
  }
  const text = outcome.output === null ? null : Buffer.from(outcome.output).toString();
  return { ...outcome, text, logs, hasRun };
}
