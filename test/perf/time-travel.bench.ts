import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ApplicationId } from '#shared/domain/ids.ts';
import { GENESIS, type Transaction, type TransactionRequest } from '#shared/domain/transaction.ts';
import {
  applicationIdFromBytes,
  contextIdFromBytes,
  publicKeyFromBytes,
} from '#shared/protocol/ids.ts';
import { ContextState } from '#shared/runtime/context-state.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { insertApplication } from '#shared/store/application-store.ts';
import { blobIdOf } from '#shared/store/blob-store.ts';
import type { Database } from '#shared/store/database.ts';
import { streamKeyHistory } from '#shared/store/key-history.ts';
import { acquireLeases } from '#shared/store/leases.ts';
import { streamTransactions } from '#shared/store/log-reader.ts';
import { writeSnapshot } from '#shared/store/snapshot-store.ts';
import { streamDifference, streamState } from '#shared/store/time-travel.ts';
import { appendBatch, appendRowOf } from '#shared/store/log-append.ts';
import { encodeLogRow } from '#shared/store/log-row.ts';
import { createContext, findContext } from '#shared/store/transaction-log.ts';
import { systemRandom } from '#shared/util/random.ts';
import { createTestDatabase } from '../support/infra.ts';
import { openTestDatabase } from '../support/log.ts';
import { wasmProgram } from '../support/program.ts';
import { median, printResult, startBench } from './bench.ts';

/**
 * Milliseconds of looking back into one long `kv-store` log, with the snapshots that its executor
 * would have left: state at random sequences, a difference, all changes of a key that changed
 * rarely and of one that changed often, the last change of either, and the log newest first.
 * `npm run bench:time-travel`; BENCH_ROUNDS and BENCH_ROWS change its length.
 */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 21);
const ROWS = Number(process.env['BENCH_ROWS'] ?? 200_000);
const ROWS_PER_COMMIT = 500;
const SNAPSHOT_EVERY = 1_000;
const KEYS = 1_000;
const NO_FILTER = { prefix: '', after: null };

const contextId = contextIdFromBytes(systemRandom(32));
const applicationId: ApplicationId = applicationIdFromBytes(systemRandom(32));
const executorPublicKey = publicKeyFromBytes(systemRandom(32));
const guest = join(import.meta.dirname, '../../examples/kv-store/kv-store.wasm');
const program = wasmProgram(await readFile(guest), applicationId);

await using stack = new AsyncDisposableStack();
await startBench(stack);
const test = stack.use(await createTestDatabase());
const database = stack.use(openTestDatabase(test.serviceUrl));

const keys = await writeLog(database);
const context = await findContext(database, contextId);
if (context === null) throw new Error('the context was created');
const { head, lineage } = context;
/** Also of the first: the generator is read to its end. */
const count = async (pages: AsyncIterable<readonly unknown[]>, max = Infinity): Promise<number> => {
  let items = 0;
  for await (const page of pages) {
    items += page.length;
    if (items >= max) break;
  }
  return items;
};
const random = () => (BigInt(Buffer.from(systemRandom(4)).readUInt32BE()) % head.sequence) + 1n;

const measures: Readonly<Record<string, () => Promise<number>>> = {
  stateAtRandom: () => count(streamState(database, lineage, { at: random(), filter: NO_FILTER })),
  stateAtHead: () =>
    count(streamState(database, lineage, { at: head.sequence, filter: NO_FILTER })),
  differenceOf1000: () => {
    const from = random() - 1n;
    const to = from + 1_000n < head.sequence ? from + 1_000n : head.sequence;
    return count(streamDifference(database, lineage, { from, to, filter: NO_FILTER }));
  },
  historyOfRareKey: () =>
    count(streamKeyHistory(database, lineage, { key: keys.rare, at: head.sequence })),
  historyOfOftenKey: () =>
    count(streamKeyHistory(database, lineage, { key: keys.often, at: head.sequence })),
  blameOfRareKey: () =>
    count(streamKeyHistory(database, lineage, { key: keys.rare, at: head.sequence }), 1),
  blameOfOftenKey: () =>
    count(streamKeyHistory(database, lineage, { key: keys.often, at: head.sequence }), 1),
  newest1000: () => {
    const from = head.sequence - 1_000n;
    const range = { from, to: head.sequence, newestFirst: true };
    return count(streamTransactions(database, lineage, range));
  },
};
const took = new Map<string, number[]>();
for (let round = 0; round <= ROUNDS; round += 1) {
  for (const [name, measure] of Object.entries(measures)) {
    const startMs = performance.now();
    if ((await measure()) === 0) throw new Error(`${name} found nothing`);
    // The first round warms up.
    if (round > 0) took.set(name, [...(took.get(name) ?? []), performance.now() - startMs]);
  }
}

const figures: Record<string, number> = { transactions: Number(head.sequence) };
for (const [name, all] of took) {
  figures[`${name}Ms`] = median(all);
  figures[`${name}MsMax`] = Math.max(...all);
}
figures['scannedPerSecond'] =
  (Number(head.sequence) / median(took.get('historyOfRareKey') ?? [])) * 1e3;
printResult('time-travel', figures, {});

/** A log of `ROWS` writes of one context and its snapshots; the keys of a rare and a usual slot. */
async function writeLog(into: Database): Promise<{ rare: Uint8Array; often: Uint8Array }> {
  const [fence] = await acquireLeases(into, {
    owner: 'bench',
    exceptPartitions: [],
    validMs: 3_600_000,
  });
  if (fence === undefined) throw new Error('the partitions are free');
  const state = new ContextState({
    contextId,
    program,
    programOf: () => program,
    head: GENESIS,
    rootHash: null,
  });
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
  const created = await createContext(into, {
    ...fence,
    contextId,
    applicationId,
    row: encodeLogRow(run(requestOf('init', 'init', {}))),
    stateBytes: state.bytes,
    member: { publicKey: executorPublicKey, sealedPrivateKey: null },
  });
  if (created.kind !== 'created') throw new Error('the context is new');
  const { contextKey } = created;
  // Written here and never again: its slot, and the count of slots, which is in the same diff.
  const first = run(requestOf('mutate', 'set', { key: 'once', value: 'once' }));
  const rare = first.changes.find(({ value }) => Buffer.from(value ?? []).includes('once'))?.key;
  await appendBatch(into, {
    fences: [fence],
    rows: [appendRowOf({ contextKey, transaction: first, stateBytes: state.bytes })],
  });
  let often: Uint8Array | undefined;
  for (let n = 2; n < ROWS; n += ROWS_PER_COMMIT) {
    const rows = Array.from({ length: ROWS_PER_COMMIT }, (_, i) => {
      const args = { key: `key ${(n + i) % KEYS}`, value: `value ${n + i}`.repeat(6) };
      const transaction = run(requestOf('mutate', 'set', args));
      return { contextKey, transaction, stateBytes: state.bytes };
    });
    await appendBatch(into, { fences: [fence], rows: rows.map(appendRowOf) });
    often = rows.at(-1)?.transaction.changes[0]?.key;
    const { sequence, seal } = state.head;
    if (sequence % BigInt(SNAPSHOT_EVERY) < BigInt(ROWS_PER_COMMIT)) {
      await writeSnapshot(into, { contextKey, sequence, seal, state: state.entries });
    }
  }
  if (rare === undefined || often === undefined) throw new Error('every set changes a slot');
  return { rare, often };
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
