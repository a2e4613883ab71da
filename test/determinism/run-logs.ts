/**
 * Executes a fixed log in every engine and prints, for each transaction, its fuel and its seal.
 * Another machine, Node version or tier of V8 must print the same: the test compares the output of
 * several processes, and with what is checked in. A worker thread executes, as in a node: its stack
 * has room for the depth that metering allows.
 */
import { isMainThread, Worker } from 'node:worker_threads';
import { type ApplicationId, type ContextId, ZERO_ID } from '#shared/domain/ids.ts';
import { GENESIS, type TransactionRequest } from '#shared/domain/transaction.ts';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { ContextState } from '#shared/runtime/context-state.ts';
import { compileProgram } from '#shared/runtime/engines.ts';
import { STACK_SIZE_MB } from '#shared/runtime/metering/instrument.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { type Call, type Log, LOGS } from './logs.ts';

const contextId: ContextId = contextIdFromBytes(new Uint8Array(32).fill(1));

const resourceLimits = { stackSizeMb: STACK_SIZE_MB };
if (isMainThread) new Worker(new URL(import.meta.url), { resourceLimits });
else for (const log of LOGS) await execute(log);

async function execute({ name, engine, source, calls }: Log): Promise<void> {
  const program = compileProgram({
    applicationId: ZERO_ID as ApplicationId,
    engine,
    source: await source(),
    instrumented: null,
  });
  const state = new ContextState({
    contextId,
    program,
    programOf: () => program,
    head: GENESIS,
    rootHash: null,
  });
  for (const [i, call] of calls.entries()) {
    const request = requestOf(call, i);
    const { outcome } = state.run(request, false);
    const { seal } = state.append(request, outcome);
    const { status, fuelUsed } = outcome;
    const hex = Buffer.from(seal).toString('hex').slice(0, 32);
    process.stdout.write(`${name} ${call.method} ${status} ${fuelUsed} ${hex}\n`);
  }
}

/** All that a guest can see, decided by the place of the call. */
function requestOf({ method, args = {}, fuelLimit = 100_000_000n }: Call, i: number) {
  return {
    kind: method === 'init' ? 'init' : 'mutate',
    method,
    payload: Buffer.from(JSON.stringify(args)),
    executorPublicKey: publicKeyFromBytes(new Uint8Array(32).fill(2)),
    principal: 'test',
    requestId: null,
    timeNs: 1_700_000_000_000_000_000n + BigInt(i),
    randomSeed: new Uint8Array(32).fill(i),
    executionVersion: EXECUTION_VERSION,
    fuelLimit,
  } satisfies TransactionRequest;
}
