import { parentPort, workerData } from 'node:worker_threads';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Outcome } from '#shared/domain/transaction.ts';
import { ContextState } from '#shared/runtime/context-state.ts';
import { compileProgram } from '#shared/runtime/engines.ts';
import type { Program } from '#shared/runtime/runtime.ts';
import { assert } from '#shared/util/assert.ts';
import { ByteWriter } from '#shared/util/byte-writer.ts';
import {
  type RanInFull,
  readRuns,
  type Run,
  type RunMode,
  writeFault,
  writeRan,
} from './run-messages.ts';
import { type FromWorker, type ToWorker, WATCH_RUN_ID } from './worker-messages.ts';

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
const ran = new ByteWriter();
let postedAt = 0;

port.on('message', (batch: readonly ToWorker[]) => {
  postedAt = performance.now();
  for (const message of batch) {
    const reply = handleSafely(message);
    if (reply !== null) port.postMessage(reply);
  }
  postRan();
});

function postRan(): void {
  if (ran.length === 0) return;
  const bytes = ran.take();
  port?.postMessage({ kind: 'ran', bytes } satisfies FromWorker, [bytes.buffer]);
  postedAt = performance.now();
}

/** A message about a context that was closed meanwhile must not cost the others their thread. */
function handleSafely(message: ToWorker): FromWorker | null {
  try {
    return handle(message);
  } catch (error) {
    if ('contextId' in message) contexts.delete(message.contextId);
    return 'runId' in message
      ? { kind: 'fault', runId: message.runId, message: reasonOf(error) }
      : null;
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
    case 'runs':
      readRuns(message.bytes, run);
      return null;
  }
}

function run(runId: number, asked: Run): void {
  Atomics.store(watch, WATCH_RUN_ID, runId);
  const start = ran.length;
  try {
    writeRan(ran, runId, execute(asked));
  } catch (error) {
    ran.truncate(start);
    writeFault(ran, runId, reasonOf(error));
  } finally {
    Atomics.store(watch, WATCH_RUN_ID, 0);
  }
  if (performance.now() - postedAt > REPLY_AFTER_MS) postRan();
}

function execute({ contextId, request, mode }: Run): RanInFull {
  const context = openContext(contextId);
  const { outcome, logs, hasRun } = context.run(request, mode === 'query');
  const isAppended = hasRun && leavesTransaction(mode, outcome, context);
  const appended = isAppended ? context.append(request, outcome) : null;
  const transaction = appended === null ? null : { ...request, ...outcome, contextId, ...appended };
  return { outcome, logs, stateBytes: context.bytes, transaction };
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

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown';
}
