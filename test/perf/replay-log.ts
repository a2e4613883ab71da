import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApplicationId, ContextId, PublicKey } from '#shared/domain/ids.ts';
import { GENESIS, type Transaction, type TransactionRequest } from '#shared/domain/transaction.ts';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { ContextState } from '#shared/runtime/context-state.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import type { Program } from '#shared/runtime/runtime.ts';
import { applicationIdOf, insertApplication } from '#shared/store/application-store.ts';
import { blobIdOf, putBlob } from '#shared/store/blob-store.ts';
import type { Database } from '#shared/store/database.ts';
import { acquireLeases } from '#shared/store/leases.ts';
import { writeSnapshot } from '#shared/store/snapshot-store.ts';
import { appendBatch, appendRowOf } from '#shared/store/log-append.ts';
import { encodeLogRow } from '#shared/store/log-row.ts';
import { createContext } from '#shared/store/transaction-log.ts';
import { wasmProgram } from '../support/program.ts';

/** A log of writes to a key-value store, the same in every process that asks for it. */
export const KEYS = 1_000;
const ROWS_PER_COMMIT = 2_000;
const HEADROOM = 500;
const FUEL = 1_000_000_000n;

export const contextId: ContextId = contextIdFromBytes(new Uint8Array(32).fill(3));
const executorPublicKey: PublicKey = publicKeyFromBytes(new Uint8Array(32).fill(5));
const randomSeed = new Uint8Array(32).fill(7);
const guest = await readFile(join(import.meta.dirname, '../../examples/kv-store/kv-store.wasm'));
const application = {
  blobId: blobIdOf(guest),
  size: guest.length,
  source: 'file:///kv-store.wasm',
  metadata: new Uint8Array(),
};
const applicationId: ApplicationId = applicationIdOf(application);

/** What the transaction at a sequence asks for. */
export function requestAt(sequence: number): TransactionRequest {
  const value = `value ${sequence}`.repeat(6);
  const args = sequence === 1 ? {} : { key: `key ${sequence % KEYS}`, value };
  return {
    kind: sequence === 1 ? 'init' : 'mutate',
    method: sequence === 1 ? 'init' : 'set',
    payload: Buffer.from(JSON.stringify(args)),
    executorPublicKey,
    principal: 'bench',
    requestId: null,
    timeNs: BigInt(sequence),
    randomSeed,
    executionVersion: EXECUTION_VERSION,
    fuelLimit: FUEL,
  };
}

function guestProgram(): Program {
  return wasmProgram(guest, applicationId);
}

export function emptyState(): ContextState {
  const program = guestProgram();
  return new ContextState({
    contextId,
    program,
    programOf: () => program,
    head: GENESIS,
    rootHash: null,
  });
}

/** Writes the log in steps, as the executor would have left it, with a snapshot near each end. */
export async function* writeLog(database: Database, ends: readonly number[]): AsyncGenerator<void> {
  const lease = { owner: 'bench', exceptPartitions: [], validMs: 86_400_000 };
  const [fence] = await acquireLeases(database, lease);
  if (fence === undefined) throw new Error('the partitions are free');
  await putBlob(database, guest, { bytesMax: guest.length });
  await insertApplication(database, { applicationId, engine: 'wasm', ...application });
  const state = emptyState();
  const run = (sequence: number): Transaction => {
    const request = requestAt(sequence);
    const { outcome } = state.run(request, false);
    return { ...request, ...outcome, contextId, ...state.append(request, outcome) };
  };
  const created = await createContext(database, {
    ...fence,
    contextId,
    applicationId,
    row: encodeLogRow(run(1)),
    stateBytes: state.bytes,
    member: { publicKey: executorPublicKey, sealedPrivateKey: null },
  });
  if (created.kind !== 'created') throw new Error('the context is new');
  const { contextKey } = created;
  let sequence = 1;
  const writeTo = async (end: number): Promise<void> => {
    while (sequence < end) {
      const rows = [];
      for (const last = Math.min(end, sequence + ROWS_PER_COMMIT); sequence < last; ) {
        sequence += 1;
        const transaction = run(sequence);
        rows.push(appendRowOf({ contextKey, transaction, stateBytes: state.bytes }));
      }
      await appendBatch(database, { fences: [fence], rows });
    }
  };
  for (const end of ends) {
    await writeTo(end - HEADROOM);
    const { seal } = state.head;
    const at = { contextKey, sequence: BigInt(sequence), seal };
    await writeSnapshot(database, { ...at, state: state.entries });
    await writeTo(end);
    yield;
  }
}
