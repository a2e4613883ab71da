import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import { createTestDatabase } from '../support/infra.ts';
import { openTestDatabase } from '../support/log.ts';
import { median, printResult, startBench } from './bench.ts';
import { writeLog } from './replay-log.ts';

/**
 * Opening and verifying a context with a long log, at a quarter, a half and the whole of it:
 * transactions per second, and the memory of the process that does it. `npm run bench:replay`;
 * BENCH_ROWS and BENCH_ROUNDS change its length.
 */
const ROWS = Number(process.env['BENCH_ROWS'] ?? 1_000_000);
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3);
const MEASURES = ['open', 'diffs', 'copyOut', 'guest', 'verify'] as const;
const MIB = 1_048_576;
const run = promisify(execFile);

await using stack = new AsyncDisposableStack();
await startBench(stack);
const test = stack.use(await createTestDatabase());
const database = stack.use(openTestDatabase(test.serviceUrl));
const owner = new pg.Client({ connectionString: test.ownerUrl });
await owner.connect();
stack.defer(() => owner.end());

interface Measured {
  readonly ms: number;
  /** Of all threads of the process, without Postgres. */
  readonly cpuMs: number;
  readonly rssBytes: number;
}

const sizes = [ROWS / 4, ROWS / 2, ROWS].map(Math.floor);
const figures: Record<string, number> = {};
const ratios: Record<string, number> = {};
let step = 0;
for await (const _ of writeLog(database, sizes)) {
  const size = sizes[step] ?? ROWS;
  step += 1;
  await owner.query('VACUUM ANALYZE transactions');
  const rounds: Record<string, Measured>[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const measured: Record<string, Measured> = {};
    for (const name of MEASURES) {
      measured[name] = name === 'copyOut' ? await copyOut(size) : await measureOnce(name);
    }
    rounds.push(measured);
  }
  const of = (name: string, pick: keyof Measured) =>
    median(rounds.map((measured) => measured[name]?.[pick] ?? Number.NaN));
  const ratio = (name: string, to: string) =>
    median(rounds.map((measured) => (measured[to]?.ms ?? 0) / (measured[name]?.ms ?? 0)));
  figures[`${size}.openMs`] = of('open', 'ms');
  for (const name of ['diffs', 'copyOut', 'guest', 'verify']) {
    figures[`${size}.${name}PerSecond`] = (size / of(name, 'ms')) * 1_000;
  }
  figures[`${size}.guestCpuMicroseconds`] = (of('guest', 'cpuMs') / size) * 1_000;
  figures[`${size}.verifyCpuMicroseconds`] = (of('verify', 'cpuMs') / size) * 1_000;
  figures[`${size}.openRssMiB`] = of('open', 'rssBytes') / MIB;
  figures[`${size}.verifyRssMiB`] = of('verify', 'rssBytes') / MIB;
  ratios[`${size}.copy_out`] = ratio('diffs', 'copyOut');
  ratios[`${size}.guest_time`] = ratio('verify', 'guest');
}
const perRow = (size: number) => 1 / (figures[`${size}.verifyPerSecond`] ?? Number.NaN);
// Below 1 it grows slower than the log.
ratios['growth'] = perRow(ROWS) / perRow(sizes[0] ?? ROWS);
printResult('replay', figures, ratios);

async function measureOnce(name: string): Promise<Measured> {
  const file = join(import.meta.dirname, 'replay-once.ts');
  const { stdout } = await run(process.execPath, [file, name, test.serviceUrl]);
  return JSON.parse(stdout) as Measured;
}

/** The same bytes as `diffs` reads, without doing anything with them. */
async function copyOut(rows: number): Promise<Measured> {
  const startMs = performance.now();
  const query = `COPY (SELECT sequence, changes FROM transactions ORDER BY sequence)
    TO STDOUT (FORMAT binary)`;
  let bytes = 0;
  for await (const chunk of owner.query(copyTo(query))) bytes += (chunk as Buffer).length;
  if (bytes < rows * 32) throw new Error('not every row was copied');
  return { ms: performance.now() - startMs, cpuMs: 0, rssBytes: 0 };
}
