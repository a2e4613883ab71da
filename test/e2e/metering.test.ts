import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { STACK_SIZE_MB } from '#shared/runtime/metering/instrument.ts';
import type { Recursion } from '../support/wasm/recursion.ts';

/** V8's compilers: both as it likes, the simple one alone, the optimising one alone. */
const COMPILERS: readonly (readonly string[])[] = [[], ['--liftoff-only'], ['--no-liftoff']];
const SCRIPTS = join(import.meta.dirname, '../support/wasm');
const TIMEOUT_MS = 120_000;

const run = promisify(execFile);

test('a call is too deep at the same depth whatever compiled it, with a third of the stack left', {
  timeout: 3 * TIMEOUT_MS,
}, async () => {
  const stackMb = Math.floor((STACK_SIZE_MB * 2) / 3);
  const calls = new Map<string, number>();

  for (const flags of COMPILERS) {
    for (const { shape, ...ends } of await node<Recursion[]>(flags, 'recursion.ts', stackMb)) {
      const expected = calls.get(shape) ?? ends.calls;
      calls.set(shape, expected);
      const wanted = { cold: 'too deep', warm: 'too deep', calls: expected, warmCalls: expected };
      expect({ shape, flags, ...ends }).toEqual({ shape, flags, ...wanted });
    }
  }
  expect(calls.size).toBeGreaterThan(10);
});

test('whatever compiled a program, it comes to the same and costs the same', {
  timeout: 3 * TIMEOUT_MS,
}, async () => {
  const digests: string[] = [];

  for (const flags of COMPILERS) {
    const { digest } = await node<{ digest: string }>(flags, 'digest.ts', 200);
    digests.push(digest);
  }

  expect(digests[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(new Set(digests).size).toBe(1);
});

/** What a script prints; it is killed when it does not end. */
async function node<T>(flags: readonly string[], script: string, argument: number): Promise<T> {
  const { stdout } = await run(
    process.execPath,
    [...flags, join(SCRIPTS, script), String(argument)],
    { timeout: TIMEOUT_MS, killSignal: 'SIGKILL' },
  );
  return JSON.parse(stdout) as T;
}
