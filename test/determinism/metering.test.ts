import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { STACK_SIZE_MB } from '#shared/runtime/metering/instrument.ts';
import { installNode26 } from '../support/node-26.ts';
import type { Recursion } from '../support/wasm/recursion.ts';

/** V8's compilers: both as it likes, the simple one alone, the optimising one alone. */
const COMPILERS: readonly (readonly string[])[] = [[], ['--liftoff-only'], ['--no-liftoff']];
const SCRIPTS = join(import.meta.dirname, '../support/wasm');
const INSTALL_MS = 300_000;
const SCRIPT_MS = 120_000;

const machines = COMPILERS.map((flags) => ({ node: process.execPath, flags }));

beforeAll(async () => {
  const node26 = await installNode26();
  machines.push(...COMPILERS.map((flags) => ({ node: node26, flags })));
}, INSTALL_MS);

test('a call is too deep at the same depth whatever runs it, with a third of the stack left', {
  timeout: 6 * SCRIPT_MS,
}, async () => {
  const stackMb = Math.floor((STACK_SIZE_MB * 2) / 3);
  const calls = new Map<string, number>();

  for (const machine of machines) {
    for (const { shape, ...ends } of await run<Recursion[]>(machine, 'recursion.ts', stackMb)) {
      const expected = calls.get(shape) ?? ends.calls;
      calls.set(shape, expected);
      const wanted = { cold: 'too deep', warm: 'too deep', calls: expected, warmCalls: expected };
      expect({ shape, ...machine, ...ends }).toEqual({ shape, ...machine, ...wanted });
    }
  }
  expect(calls.size).toBeGreaterThan(10);
});

test('generated programs come to the same and cost the same, whatever runs them', {
  timeout: 6 * SCRIPT_MS,
}, async () => {
  const digests: string[] = [];

  for (const machine of machines) {
    const { digest } = await run<{ digest: string }>(machine, 'digest.ts', 200);
    digests.push(digest);
  }

  expect(digests).toHaveLength(2 * COMPILERS.length);
  expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(new Set(digests).size).toBe(1);
});

/** What a script prints; it is killed when it does not end. */
async function run<T>(
  { node, flags }: (typeof machines)[number],
  script: string,
  argument: number,
): Promise<T> {
  const { stdout } = await promisify(execFile)(
    node,
    [...flags, join(SCRIPTS, script), String(argument)],
    { timeout: SCRIPT_MS, killSignal: 'SIGKILL' },
  );
  return JSON.parse(stdout) as T;
}
