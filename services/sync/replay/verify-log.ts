import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import { GENESIS, type Transaction } from '#shared/domain/transaction.ts';
import { decodeFork } from '#shared/protocol/fork.ts';
import { decodeUpgrade } from '#shared/protocol/upgrade.ts';
import { assert } from '#shared/util/assert.ts';
import { ContextState } from '#shared/runtime/context-state.ts';
import type { Program } from '#shared/runtime/runtime.ts';
import { readApplications, streamTransactions } from '#shared/store/log-reader.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import type { Database } from '#shared/store/database.ts';

/** Running a logged transaction again gave something else than the log says. */
class DivergenceError extends Error {
  override readonly name = 'DivergenceError';
  readonly contextId: ContextId;
  readonly sequence: bigint;

  constructor(contextId: ContextId, sequence: bigint, what: string) {
    super(`context ${contextId} diverges at sequence ${sequence}: ${what}`);
    this.contextId = contextId;
    this.sequence = sequence;
  }
}

/**
 * Verified state: runs a context's log again from zero and compares every seal, which covers
 * inputs, outcome, diff and chain. Throws an error that names the first that differs.
 */
export async function verifyLog(
  database: Database,
  contextId: ContextId,
  programOf: (applicationId: ApplicationId) => Promise<Program>,
): Promise<ContextState> {
  const context = await findContext(database, contextId);
  if (context === null) throw new Error(`no such context: ${contextId}`);
  const programs = new Map<ApplicationId, Program>();
  const load = async (id: ApplicationId): Promise<Program> => {
    const program = programs.get(id) ?? (await programOf(id));
    programs.set(id, program);
    return program;
  };
  const [application] = await readApplications(database, context, 0n);
  const state = new ContextState({
    // A fork's log begins as that of the oldest of its parents.
    contextId: context.lineage[0]?.contextId ?? contextId,
    program: await load(application),
    programOf: (id) => {
      const program = programs.get(id);
      assert(program !== undefined, 'a program is loaded before its upgrade is replayed');
      return program;
    },
    head: GENESIS,
    rootHash: null,
  });
  const range = { from: 0n, to: context.head.sequence };
  for await (const page of streamTransactions(database, context.lineage, range)) {
    for (const transaction of page) {
      if (transaction.kind === 'upgrade') await load(decodeUpgrade(transaction.payload).to);
      if (transaction.kind === 'fork') fork(state, transaction);
      replay(state, transaction);
    }
  }
  if (Buffer.compare(state.head.seal, context.head.seal) !== 0) {
    throw new DivergenceError(contextId, context.head.sequence, 'the head is not the last seal');
  }
  return state;
}

/** What follows was run as the fork, on the log of the context that its first transaction names. */
function fork(state: ContextState, { contextId, sequence, payload }: Transaction): void {
  const from = decodeFork(payload);
  if (from.contextId !== state.contextId || from.sequence !== state.head.sequence) {
    throw new DivergenceError(contextId, sequence, 'a fork of something else');
  }
  state.forkTo(contextId);
}

function replay(state: ContextState, logged: Transaction): void {
  const { contextId, sequence } = logged;
  if (sequence !== state.head.sequence + 1n) {
    throw new DivergenceError(contextId, state.head.sequence + 1n, 'the log has a gap');
  }
  const { outcome } = state.run(logged, false);
  const { hash, seal } = state.append(logged, outcome);
  if (hash !== logged.hash) throw new DivergenceError(contextId, sequence, 'another hash');
  if (Buffer.compare(seal, logged.seal) === 0) return;
  const differing = (['status', 'error', 'fuelUsed'] as const).filter(
    (field) => outcome[field] !== logged[field],
  );
  throw new DivergenceError(
    contextId,
    sequence,
    `another seal (${differing.join(', ') || 'output, events or diff'})`,
  );
}
