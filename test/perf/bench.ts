import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type Infra, publishInfra, startInfra } from '../support/infra.ts';

/** Where a benchmark runs: real servers of its own in a directory that is removed afterwards. */
export async function startBench(
  stack: AsyncDisposableStack,
): Promise<Infra & { readonly directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'cairn-bench-'));
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const infra = await startInfra(stack, directory);
  publishInfra(infra);
  return { ...infra, directory };
}

/** Starts a yardstick server as a process of its own; it prints its address as JSON. */
export async function startYardstick(
  stack: AsyncDisposableStack,
  name: string,
  env: NodeJS.ProcessEnv = {},
): Promise<number> {
  return (await spawnYardstick(stack, name, env)).port;
}

export interface Yardstick {
  readonly port: number;
  readonly pid: number;
  /** Of a whole node. */
  readonly internalPort?: number;
}

/** Like `startYardstick`, for who wants to know more than the port. */
export async function spawnYardstick(
  stack: AsyncDisposableStack,
  name: string,
  env: NodeJS.ProcessEnv = {},
): Promise<Yardstick> {
  const child: ChildProcess = spawn(
    process.execPath,
    [join(import.meta.dirname, 'yardsticks', `${name}.ts`)],
    { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  stack.defer(() => {
    child.kill();
  });
  if (child.stdout === null) throw new Error('the output is a pipe');
  for await (const line of createInterface({ input: child.stdout })) {
    return { ...(JSON.parse(line) as { port: number }), pid: child.pid ?? 0 };
  }
  throw new Error(`${name} did not start`);
}

const SYNC_ROUNDS = 200;

/** What the disk gives: flushes of one 4 KiB write per second. */
export async function measureFdatasync(directory: string): Promise<number> {
  const file = await open(join(directory, 'fdatasync'), 'w');
  try {
    const block = Buffer.alloc(4_096);
    const startMs = performance.now();
    for (let i = 0; i < SYNC_ROUNDS; i += 1) {
      await file.write(block, 0, block.length, 0);
      await file.datasync();
    }
    return (SYNC_ROUNDS / (performance.now() - startMs)) * 1_000;
  } finally {
    await file.close();
  }
}

/** The middle one of an odd number of figures. */
export function median(figures: readonly number[]): number {
  const sorted = figures.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

/** Each figure to three digits: more is noise. */
export function rounded(figures: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [name, Number(value.toPrecision(3))]),
  );
}

/** The last line of every benchmark. */
export function printResult(
  bench: string,
  figures: Readonly<Record<string, number>>,
  ratios: Readonly<Record<string, number>>,
): void {
  const result = { bench, figures: rounded(figures), ratios: rounded(ratios) };
  process.stdout.write(`${JSON.stringify(result)}\n`);
}
