import { expect, test } from 'vitest';
import {
  executeMetered,
  executeOriginal,
  interpret,
} from '../../../test/support/wasm/execution.ts';
import { encodeProgram, type Program } from '../../../test/support/wasm/program.ts';
import { Seeded } from '../../../test/support/wasm/random.ts';
import { argumentBits, makeProgram } from '../../../test/support/wasm/smith.ts';
import { DEPTH_MAX, type InstrumentedModule, instrument } from './instrument.ts';

/** FUZZ_PROGRAMS and FUZZ_SEED change how many programs are tried, and which. */
const PROGRAMS = Number(process.env['FUZZ_PROGRAMS'] ?? 300);
const FIRST_SEED = Number(process.env['FUZZ_SEED'] ?? 1);
const STEPS_MAX = 20_000;
const PLENTY = 1n << 45n;

interface Case {
  readonly name: string;
  readonly program: Program;
  readonly source: Uint8Array<ArrayBuffer>;
  readonly metered: InstrumentedModule;
  readonly index: number;
  readonly args: readonly bigint[];
}

test('generated programs do what they did, and cost exactly what their operators cost', {
  timeout: 60_000 + 100 * PROGRAMS,
}, () => {
  const ends = new Map<string, number>();
  for (const one of cases()) {
    const end = check(one);
    ends.set(end, (ends.get(end) ?? 0) + 1);
  }

  expect(ends.get('returned')).toBeGreaterThan(PROGRAMS);
  expect(ends.get('out of bounds')).toBeGreaterThan(0);
});

function* cases(): Generator<Case> {
  for (let seed = FIRST_SEED; seed < FIRST_SEED + PROGRAMS; seed += 1) {
    const program = makeProgram(seed, { isFloaty: seed % 2 === 0, isEndless: seed % 5 === 0 });
    const source = encodeProgram(program);
    const metered = instrument(source);
    const random = new Seeded(seed);
    for (const [index, { type }] of program.functions.entries()) {
      const args = type.parameters.map((parameter) => argumentBits(random, parameter));
      yield { name: `seed ${seed}, function ${index}`, program, source, metered, index, args };
    }
  }
}

function check({ name, program, source, metered, index, args }: Case): string {
  const { seen, fuel, madeNan } = interpret(program, index, args, STEPS_MAX);
  if (seen.end === 'too long') {
    const { fuelLeft } = executeMetered(program, metered, { index, args, fuel: fuel - 1n });
    expect(fuelLeft, `${name} runs out of fuel`).toBeLessThan(0n);
    return seen.end;
  }
  const { fuelLeft, depthLeft, ...after } = executeMetered(program, metered, {
    index,
    args,
    fuel: PLENTY,
  });
  expect(after, name).toEqual(seen);
  if (!madeNan) expect(executeOriginal(program, source, { index, args }), name).toEqual(seen);
  if (seen.end !== 'returned') {
    expect(PLENTY - fuelLeft, `${name} pays for what it did`).toBeGreaterThanOrEqual(fuel);
    return seen.end;
  }
  expect(PLENTY - fuelLeft, `fuel of ${name}`).toBe(fuel);
  expect(depthLeft, `depth of ${name}`).toBe(DEPTH_MAX);
  const exact = executeMetered(program, metered, { index, args, fuel });
  expect([exact.end, exact.fuelLeft], `${name} with just enough`).toEqual(['returned', 0n]);

  const short = executeMetered(program, metered, { index, args, fuel: fuel - 1n });
  expect(short.fuelLeft, `${name} with one too little`).toBeLessThan(0n);
  return seen.end;
}
