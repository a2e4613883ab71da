import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { ApplicationId } from '#shared/domain/ids.ts';
import { GENESIS, type Transaction, type TransactionRequest } from '#shared/domain/transaction.ts';
import {
  applicationIdFromBytes,
  contextIdFromBytes,
  publicKeyFromBytes,
} from '#shared/protocol/ids.ts';
import { ContextState } from '#shared/runtime/context-state.ts';
import { wasmProgram } from '../support/program.ts';
import { insertApplication } from '#shared/store/application-store.ts';
import { blobIdOf } from '#shared/store/blob-store.ts';
import type { Database } from '#shared/store/database.ts';
import { acquireLeases } from '#shared/store/leases.ts';
import { streamChanges } from '#shared/store/log-reader.ts';
import { appendBatch, appendRowOf } from '#shared/store/log-append.ts';
import { encodeLogRow } from '#shared/store/log-row.ts';
import { createContext, findContext } from '#shared/store/transaction-log.ts';
import { systemRandom } from '#shared/util/random.ts';
import { verifyLog } from '../../services/sync/replay/verify-log.ts';
import { createTestDatabase } from '../support/infra.ts';
import { openTestDatabase } from '../support/log.ts';
import { median, printResult, startBench } from './bench.ts';

/**
 * Transactions per second of loading a context's state from its log, by diffs and by running it
 * again. `npm run bench:replay`; BENCH_ROUNDS and BENCH_ROWS change its length.
 */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const ROWS = Number(process.env['BENCH_ROWS'] ?? 30_000);
const ROWS_PER_COMMIT = 500;
const KEYS = 1_000;

const contextId = contextIdFromBytes(systemRandom(32));
const applicationId: ApplicationId = applicationIdFromBytes(systemRandom(32));
const executorPublicKey = publicKeyFromBytes(systemRandom(32));
const guest = join(import.meta.dirname, '../../examples/kv-store/kv-store.wasm');
const program = wasmProgram(await readFile(guest), applicationId);

await using stack = new AsyncDisposableStack();
await startBench(stack);
const test = stack.use(await createTestDatabase());
const database = stack.use(openTestDatabase(test.serviceUrl));
const owner = new pg.Client({ connectionString: test.ownerUrl });
await owner.connect();
stack.defer(() => owner.end());

const requests = await writeLog(database);
const context = await findContext(database, contextId);
if (context === null) throw new Error('the context was created');
const { contextKey, head, lineage } = context;

const measures: Readonly<Record<string, () => Promise<void> | void>> = {
  copyOut: async () => {
    const query = `COPY (SELECT sequence, changes FROM transactions WHERE context = ${contextKey}
      ORDER BY sequence) TO STDOUT (FORMAT binary)`;
    let bytes = 0;
    for await (const chunk of owner.query(copyTo(query))) bytes += (chunk as Buffer).length;
    if (bytes < ROWS * 32) throw new Error('not every row was copied');
  },
  diffs: async () => {
    const state = emptyState();
    const range = { from: 0n, to: head.sequence };
    for await (const changes of streamChanges(database, lineage, range)) {
      state.apply(changes);
    }
    if (state.entries.size < KEYS) throw new Error('not every key was loaded');
  },
  guest: () => {
    const state = emptyState();
    for (const request of requests) state.apply(state.run(request, false).outcome.changes);
  },
  reexecution: async () => {
    const state = await verifyLog(database, contextId, () => Promise.resolve(program));
    if (state.head.sequence !== head.sequence) throw new Error('not every row was verified');
  },
};
const rates = new Map<string, number[]>();
for (let round = 0; round <= ROUNDS; round += 1) {
  for (const [name, measure] of Object.entries(measures)) {
    const startMs = performance.now();
    await measure();
    const perSecond = (requests.length / (performance.now() - startMs)) * 1_000;
    // The first round warms up.
    if (round > 0) rates.set(name, [...(rates.get(name) ?? []), perSecond]);
  }
}

const of = (name: string) => rates.get(name) ?? [];
const ratio = (name: string, to: string) =>
  median(of(name).map((rate, i) => rate / (of(to)[i] ?? Number.NaN)));
printResult(
  'replay',
  {
    transactions: requests.length,
    diffsPerSecond: median(of('diffs')),
    copyOutPerSecond: median(of('copyOut')),
    reexecutionPerSecond: median(of('reexecution')),
    guestPerSecond: median(of('guest')),
  },
  { copy_out: ratio('diffs', 'copyOut'), guest_time: ratio('reexecution', 'guest') },
);

function emptyState(): ContextState {
  return new ContextState({
    contextId,
    program,
    programOf: () => program,
    head: GENESIS,
    rootHash: null,
  });
}

/** A log of `ROWS` writes of one context, as the executor would have left it. */
async function writeLog(into: Database): Promise<TransactionRequest[]> {
  const [fence] = await acquireLeases(into, {
    owner: 'bench',
    exceptPartitions: [],
    validMs: 3_600_000,
  });
  if (fence === undefined) throw new Error('the partitions are free');
  const state = emptyState();
  const run = (request: TransactionRequest): Transaction => {
    const { outcome } = state.run(request, false);
    return { ...request, ...outcome, contextId, ...state.append(request, outcome) };
  };
  const application = {
    blobId: blobIdOf(new Uint8Array()),
    size: 0,
    source: 'file:///x',
    engine: 'wasm',
  } as const;
  await insertApplication(into, { applicationId, ...application, metadata: new Uint8Array() });
  const init = requestOf('init', 'init', {});
  const created = await createContext(into, {
    ...fence,
    contextId,
    applicationId,
    row: encodeLogRow(run(init)),
    stateBytes: state.bytes,
    member: { publicKey: executorPublicKey, sealedPrivateKey: null },
  });
  if (created.kind !== 'created') throw new Error('the context is new');
  const all = [init];
  while (all.length < ROWS) {
    const more = Array.from({ length: ROWS_PER_COMMIT }, (_, i) => {
      const n = all.length + i;
      return requestOf('mutate', 'set', { key: `key ${n % KEYS}`, value: `value ${n}`.repeat(6) });
    });
    const rows = more.map((request) =>
      appendRowOf({
        contextKey: created.contextKey,
        transaction: run(request),
        stateBytes: state.bytes,
      }),
    );
    await appendBatch(into, { fences: [fence], rows });
    all.push(...more);
  }
  return all;
}

function requestOf(kind: 'init' | 'mutate', method: string, args: object): TransactionRequest {
  return {
    kind,
    method,
    payload: Buffer.from(JSON.stringify(args)),
    executorPublicKey,
    principal: 'bench',
    requestId: null,
    timeNs: 1n,
    randomSeed: systemRandom(32),
    executionVersion: EXECUTION_VERSION,
    fuelLimit: 1_000_000_000n,
  };
}
