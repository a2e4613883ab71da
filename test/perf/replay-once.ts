import { AppError } from '#shared/domain/app-error.ts';
import { streamChanges } from '#shared/store/log-reader.ts';
import { findSnapshot, readSnapshot } from '#shared/store/snapshot-store.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import { ReplayThreads } from '../../services/sync/replay/replay-threads.ts';
import { openTestDatabase } from '../support/log.ts';
import { contextId, emptyState, KEYS, requestAt } from './replay-log.ts';

/**
 * One measurement of `bench:replay` in a process of its own, so that its memory is its own too:
 * prints the milliseconds that it took, those of CPU time, and the most memory that the process
 * ever had.
 */
const [name = '', databaseUrl = ''] = process.argv.slice(2);
const REQUESTS_AHEAD = 10_000;
const WALL_CLOCK_MS = 30_000;

await using database = openTestDatabase(databaseUrl);
const context = await findContext(database, contextId);
if (context === null) throw new AppError('context_not_found', 'the log was written');
const { lineage, head } = context;

const measures: Readonly<Record<string, () => Promise<Times>>> = {
  /** From cold as an executor opens a context: the newest snapshot and the diffs behind it. */
  open: () =>
    timed(async () => {
      const snapshot = await findSnapshot(database, lineage, head.sequence);
      const state = emptyState();
      for await (const entries of snapshot === null ? [] : readSnapshot(database, snapshot)) {
        for (const [key, value] of entries) state.put(key, value);
      }
      const range = { from: snapshot?.sequence ?? 0n, to: head.sequence };
      for await (const changes of streamChanges(database, lineage, range)) state.apply(changes);
      demand(snapshot !== null && state.entries.size >= KEYS);
    }),
  diffs: () =>
    timed(async () => {
      const state = emptyState();
      const range = { from: 0n, to: head.sequence };
      for await (const changes of streamChanges(database, lineage, range)) state.apply(changes);
      demand(state.entries.size >= KEYS);
    }),
  verify: async () => {
    await using threads = new ReplayThreads({ databaseUrl, wallClockMs: WALL_CLOCK_MS });
    return await timed(async () => {
      const result = await threads.run({
        task: { kind: 'verify', contextId, from: null, to: null, share: 1 },
        signal: new AbortController().signal,
        onProgress: () => undefined,
      });
      const wanted = Number(head.sequence);
      demand(result.kind === 'verify' && result.verification.verified === wanted);
    });
  },
  /** The guests alone, in one thread. */
  guest: async () => {
    const state = emptyState();
    const times = { ms: 0, cpuMs: 0 };
    for (let first = 1; first <= Number(head.sequence); first += REQUESTS_AHEAD) {
      const count = Math.min(REQUESTS_AHEAD, Number(head.sequence) - first + 1);
      const requests = Array.from({ length: count }, (_, i) => requestAt(first + i));
      const { ms, cpuMs } = await timed(async () => {
        for (const request of requests) state.apply(state.run(request, false).outcome.changes);
      });
      times.ms += ms;
      times.cpuMs += cpuMs;
    }
    return times;
  },
};

const measure = measures[name];
if (measure === undefined) throw new Error(`there is no measure ${name}`);
const { ms, cpuMs } = await measure();
const { maxRSS } = process.resourceUsage();
process.stdout.write(`${JSON.stringify({ ms, cpuMs, rssBytes: maxRSS * 1_024 })}\n`);

interface Times {
  readonly ms: number;
  readonly cpuMs: number;
}

async function timed(work: () => Promise<void>): Promise<Times> {
  const before = process.cpuUsage();
  const startMs = performance.now();
  await work();
  const { user, system } = process.cpuUsage(before);
  return { ms: performance.now() - startMs, cpuMs: (user + system) / 1_000 };
}

function demand(isTrue: boolean): void {
  if (!isTrue) throw new Error('the replay did not come to what the log says');
}
