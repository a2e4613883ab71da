import { parentPort, workerData } from 'node:worker_threads';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Head, Outcome, TransactionRequest } from '#shared/domain/transaction.ts';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import type { ExecutionResult, Program } from '#shared/runtime/runtime.ts';
import { compileWasmProgram } from '#shared/runtime/wasm-program.ts';
import { sealTransaction } from '#shared/store/seal.ts';
import { assert } from '#shared/util/assert.ts';
import {
  type Appended,
  type Change,
  type FromWorker,
  type RunMode,
  type ToWorker,
  WATCH_RUN_ID,
} from './worker-messages.ts';

/**
 * The thread that runs guests. It holds the state of the contexts that were opened on it, always
 * at their speculative head: a transaction that ran is applied here before it is committed.
 */
interface OpenContext {
  readonly program: Program;
  readonly state: Map<string, Uint8Array>;
  stateBytes: number;
  head: Head;
  rootHash: Uint8Array | null;
}

const REPLY_AFTER_MS = 1;
const NO_OUTCOME: Outcome = {
  status: 'ok',
  output: null,
  error: null,
  events: [],
  changes: [],
  rootHash: null,
  artifact: null,
  fuelUsed: 0n,
};

const port = parentPort;
assert(port !== null, 'this file runs in a worker thread');
const watch = new Int32Array((workerData as { watch: SharedArrayBuffer }).watch);
const programs = new Map<ApplicationId, Program>();
const contexts = new Map<ContextId, OpenContext>();

port.on('message', (batch: readonly ToWorker[]) => {
  let replies: FromWorker[] = [];
  let postedAt = performance.now();
  for (const message of batch) {
    const reply = handle(message);
    if (reply !== null) replies.push(reply);
    if (replies.length > 0 && performance.now() - postedAt > REPLY_AFTER_MS) {
      port.postMessage(replies);
      replies = [];
      postedAt = performance.now();
    }
  }
  if (replies.length > 0) port.postMessage(replies);
});

function handle(message: ToWorker): FromWorker | null {
  switch (message.kind) {
    case 'program':
      programs.set(message.applicationId, compileWasmProgram(message.applicationId, message.bytes));
      return null;
    case 'open': {
      const program = programs.get(message.applicationId);
      assert(program !== undefined, 'the program is sent before a context of it');
      const { head, rootHash } = message;
      contexts.set(message.contextId, { program, state: new Map(), stateBytes: 0, head, rootHash });
      return null;
    }
    case 'load': {
      const context = openContext(message.contextId);
      for (const [key, value] of message.entries) put(context, key, value);
      return null;
    }
    case 'apply':
      applyChanges(openContext(message.contextId), message.changes);
      return null;
    case 'close':
      contexts.delete(message.contextId);
      return null;
    case 'snapshot': {
      const { head, state } = openContext(message.contextId);
      return { kind: 'snapshot', runId: message.runId, head, entries: [...state] };
    }
    case 'run':
      return run(message);
  }
}

function run(message: Extract<ToWorker, { kind: 'run' }>): FromWorker {
  const { runId, contextId, request, mode } = message;
  Atomics.store(watch, WATCH_RUN_ID, runId);
  try {
    const context = openContext(contextId);
    const { outcome, logs, hasRun } = runGuest(context, contextId, request, mode === 'query');
    const appended =
      hasRun && leavesTransaction(mode, outcome, context)
        ? append(context, contextId, request, outcome)
        : null;
    return { kind: 'ran', runId, outcome, logs, appended, stateBytes: context.stateBytes };
  } catch (error) {
    return { kind: 'fault', runId, message: error instanceof Error ? error.message : 'unknown' };
  } finally {
    Atomics.store(watch, WATCH_RUN_ID, 0);
  }
}

function runGuest(
  context: OpenContext,
  contextId: ContextId,
  request: TransactionRequest,
  readOnly: boolean,
): ExecutionResult {
  const isNoop = request.kind === 'delete' || (request.kind === 'init' && !context.program.hasInit);
  if (isNoop) return { outcome: NO_OUTCOME, logs: [], hasRun: true };
  return context.program.execute({ contextId, request, state: context.state, readOnly });
}

function leavesTransaction(mode: RunMode, outcome: Outcome, context: OpenContext): boolean {
  switch (mode) {
    case 'query':
      return false;
    case 'append':
      return true;
    case 'append-if-ok':
      return outcome.status === 'ok';
    case 'append-if-changed':
      return outcome.status === 'ok' && isChange(outcome, context);
  }
}

function isChange({ changes, events, rootHash }: Outcome, context: OpenContext): boolean {
  if (changes.length > 0 || events.length > 0) return true;
  return (
    rootHash !== null &&
    (context.rootHash === null || Buffer.compare(rootHash, context.rootHash) !== 0)
  );
}

function append(
  context: OpenContext,
  contextId: ContextId,
  request: TransactionRequest,
  outcome: Outcome,
): Appended {
  const { sequence, hash: priorHash, seal: priorSeal } = context.head;
  const hash = transactionHash({
    contextId,
    method: request.method,
    payload: request.payload,
    priorHash,
    executorPublicKey: request.executorPublicKey,
  });
  const unsealed = { ...request, ...outcome, contextId, sequence: sequence + 1n, hash, priorHash };
  const seal = sealTransaction(unsealed, priorSeal);
  applyChanges(context, outcome.changes);
  context.head = { sequence: sequence + 1n, hash, seal };
  context.rootHash = outcome.rootHash ?? context.rootHash;
  return { ...context.head, priorHash };
}

function applyChanges(context: OpenContext, changes: readonly Change[]): void {
  for (const { key, value } of changes) put(context, Buffer.from(key).toString('latin1'), value);
}

function put(context: OpenContext, key: string, value: Uint8Array | null): void {
  const old = context.state.get(key);
  if (old !== undefined) context.stateBytes -= key.length + old.length;
  if (value === null) context.state.delete(key);
  else {
    context.state.set(key, value);
    context.stateBytes += key.length + value.length;
  }
}

function openContext(contextId: ContextId): OpenContext {
  const context = contexts.get(contextId);
  assert(context !== undefined, 'a context is opened before it is used');
  return context;
}
