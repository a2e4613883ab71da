import { parentPort, workerData } from 'node:worker_threads';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Outcome } from '#shared/domain/transaction.ts';
import { ContextState } from '#shared/runtime/context-state.ts';
import { compileProgram } from '#shared/runtime/engines.ts';
import type { Program } from '#shared/runtime/runtime.ts';
import { assert } from '#shared/util/assert.ts';
import { type FromWorker, type RunMode, type ToWorker, WATCH_RUN_ID } from './worker-messages.ts';

/**
 * The thread that runs guests. It holds the state of the contexts that were opened on it, always
 * at their speculative head: a transaction that ran is applied here before it is committed.
 */
const REPLY_AFTER_MS = 1;

const port = parentPort;
assert(port !== null, 'this file runs in a worker thread');
const watch = new Int32Array((workerData as { watch: SharedArrayBuffer }).watch);
const programs = new Map<ApplicationId, Program>();
const contexts = new Map<ContextId, ContextState>();

port.on('message', (batch: readonly ToWorker[]) => {
  let replies: FromWorker[] = [];
  let postedAt = performance.now();
  for (const message of batch) {
    const reply = handleSafely(message);
    if (reply !== null) replies.push(reply);
    if (replies.length > 0 && performance.now() - postedAt > REPLY_AFTER_MS) {
      port.postMessage(replies);
      replies = [];
      postedAt = performance.now();
    }
  }
  if (replies.length > 0) port.postMessage(replies);
});

/** A message about a context that was closed meanwhile must not cost the others their thread. */
function handleSafely(message: ToWorker): FromWorker | null {
  try {
    return handle(message);
  } catch (error) {
    if ('contextId' in message) contexts.delete(message.contextId);
    const reason = error instanceof Error ? error.message : 'unknown';
    return 'runId' in message ? { kind: 'fault', runId: message.runId, message: reason } : null;
  }
}

function handle(message: ToWorker): FromWorker | null {
  switch (message.kind) {
    case 'program':
      programs.set(message.code.applicationId, compileProgram(message.code));
      return null;
    case 'open': {
      const program = programOf(message.applicationId);
      contexts.set(message.contextId, new ContextState({ ...message, program, programOf }));
      return null;
    }
    case 'load': {
      const context = openContext(message.contextId);
      for (const [key, value] of message.entries) context.put(key, value);
      return null;
    }
    case 'apply':
      openContext(message.contextId).apply(message.changes);
      return null;
    case 'close':
      contexts.delete(message.contextId);
      return null;
    case 'snapshot': {
      const { head, entries } = openContext(message.contextId);
      return { kind: 'snapshot', runId: message.runId, head, entries: [...entries] };
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
    const { outcome, logs, hasRun } = context.run(request, mode === 'query');
    const isAppended = hasRun && leavesTransaction(mode, outcome, context);
    const appended = isAppended ? context.append(request, outcome) : null;
    return { kind: 'ran', runId, outcome, logs, appended, stateBytes: context.bytes };
  } catch (error) {
    return { kind: 'fault', runId, message: error instanceof Error ? error.message : 'unknown' };
  } finally {
    Atomics.store(watch, WATCH_RUN_ID, 0);
  }
}

function leavesTransaction(mode: RunMode, outcome: Outcome, context: ContextState): boolean {
  switch (mode) {
    case 'query':
      return false;
    case 'append':
      return true;
    case 'append-if-ok':
      return outcome.status === 'ok';
    case 'append-if-changed':
      return outcome.status === 'ok' && context.isChangedBy(outcome);
  }
}

function programOf(applicationId: ApplicationId): Program {
  const program = programs.get(applicationId);
  assert(program !== undefined, 'a program is sent before it is used');
  return program;
}

function openContext(contextId: ContextId): ContextState {
  const context = contexts.get(contextId);
  assert(context !== undefined, 'a context is opened before it is used');
  return context;
}
