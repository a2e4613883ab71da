/**
 * Executes generated programs and prints a digest of all that came of them, fuel included:
 * `node [V8 options] test/support/wasm/digest.ts [programs]`. Two machines, versions of Node or
 * compilers of V8 that print another one disagree about an execution.
 */
import { createHash } from 'node:crypto';
import { instrument } from '#shared/runtime/metering/instrument.ts';
import { executeMetered } from './execution.ts';
import { encodeProgram } from './program.ts';
import { Seeded } from './random.ts';
import { argumentBits, makeProgram } from './smith.ts';

const PROGRAMS = Number(process.argv[2] ?? 300);
/** Enough for most to return; the others are endless, or take long. */
const FUEL = 300_000n;

const hash = createHash('sha256');
let executions = 0;
for (let seed = 1; seed <= PROGRAMS; seed += 1) {
  const program = makeProgram(seed, { isFloaty: seed % 2 === 0, isEndless: seed % 3 === 0 });
  const module = instrument(encodeProgram(program));
  const random = new Seeded(seed);
  hash.update(module.bytes);
  for (const [index, { type }] of program.functions.entries()) {
    const args = type.parameters.map((parameter) => argumentBits(random, parameter));
    const seen = executeMetered(program, module, { index, args, fuel: FUEL });
    hash.update(JSON.stringify(seen, (_, value: unknown) => visible(value)));
    executions += 1;
  }
}
const { node, v8 } = process.versions;
process.stdout.write(`${JSON.stringify({ node, v8, executions, digest: hash.digest('hex') })}\n`);

/** Numbers that JSON does not know. */
function visible(value: unknown): unknown {
  const isNumber = typeof value === 'number' && Number.isFinite(value) && !Object.is(value, -0);
  return typeof value === 'bigint' || (typeof value === 'number' && !isNumber)
    ? `${Object.is(value, -0) ? '-' : ''}${value}`
    : value;
}
