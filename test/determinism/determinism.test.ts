import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import { beforeAll, expect, test } from 'vitest';
import { installNode26 } from '../support/node-26.ts';

const SCRIPT = join(import.meta.dirname, 'run-logs.ts');
/** What this version of the rules gives. It may only change together with the execution version. */
const EXPECTED = join(import.meta.dirname, 'expected.txt');
const INSTALL_MS = 300_000;
let node26 = '';

beforeAll(async () => {
  node26 = await installNode26();
}, INSTALL_MS);

test.each([
  ['Node 24', [], false],
  ['Node 24 on the baseline compiler alone', ['--liftoff-only'], false],
  ['Node 24 on the optimising compiler alone', ['--no-liftoff'], false],
  ['Node 24 with a busy machine', [], true],
] as const)('%s executes the logs of every engine as expected', async (_name, flags, isBusy) => {
  await expectLogs(process.execPath, flags, isBusy);
});

test('Node 26 executes the logs of every engine as expected', async () => {
  await expectLogs(node26, [], false);
  await expectLogs(node26, ['--liftoff-only'], true);
});

async function expectLogs(node: string, flags: readonly string[], isBusy: boolean): Promise<void> {
  const expected = await readFile(EXPECTED, 'utf8');
  const noise = isBusy ? makeNoise() : [];
  try {
    const { stdout } = await promisify(execFile)(node, [...flags, SCRIPT], {
      maxBuffer: 16 * 1_048_576,
    });
    expect(stdout.split('\n')).toEqual(expected.split('\n'));
  } finally {
    await Promise.all(noise.map((worker) => worker.terminate()));
  }
}

/** More busy threads than the machine has cores. */
function makeNoise(): Worker[] {
  return Array.from(
    { length: availableParallelism() + 1 },
    () => new Worker('for (;;) Math.sqrt(2);', { eval: true }),
  );
}
