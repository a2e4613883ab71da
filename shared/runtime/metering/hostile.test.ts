import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { AppError } from '#shared/domain/app-error.ts';
import { encodeProgram } from '../../../test/support/wasm/program.ts';
import { Seeded } from '../../../test/support/wasm/random.ts';
import { makeProgram } from '../../../test/support/wasm/smith.ts';
import { instrument } from './instrument.ts';

const HEADER = Buffer.from('0061736d01000000', 'hex');
const MUTATIONS = Number(process.env['FUZZ_PROGRAMS'] ?? 1_000);

/** Modules that are made to take long, or much memory; each says what it comes to. */
const HOSTILE: readonly (readonly [string, () => Uint8Array, RegExp | null])[] = [
  ['2 ** 32 - 1 locals', () => ofBodies([[1, ...u(2 ** 32 - 1), 0x7e, 0x0b]]), /locals/],
  [
    'many groups of locals',
    () => ofBodies([[...u(60_000), ...fill(60_000, [1, 0x7f]), 0x0b]]),
    /60000|locals/,
  ],
  [
    '50 000 functions of 10 000 locals',
    () => ofBodies(Array.from({ length: 50_000 }, () => [1, ...u(10_000), 0x7e, 0x0b])),
    /more than 4000000/,
  ],
  ['50 000 functions', () => ofBodies(Array.from({ length: 50_000 }, () => [0, 0x0b])), null],
  [
    '100 001 functions',
    () => ofBodies(Array.from({ length: 100_001 }, () => [0, 0x0b])),
    /100001 functions/,
  ],
  ['a million nested blocks', () => ofBodies([nested(1_000_000, [0x02, 0x40])]), null],
  [
    'nested loops that are branched out of',
    () => ofBodies([nested(300_000, [0x03, 0x40, 0x41, 0, 0x0d, 0])]),
    null,
  ],
  ['nested sides', () => ofBodies([nested(300_000, [0x41, 0, 0x04, 0x40])]), null],
  [
    'nested blocks without an end',
    () => ofBodies([[0, ...fill(1_000_000, [0x02, 0x40])]]),
    /malformed/,
  ],
  [
    'a table of 65 000 branches',
    () => ofBodies([[0, 0x41, 0, 0x0e, ...u(65_000), ...fill(65_001, [0]), 0x0b]]),
    null,
  ],
  [
    'a table of 2 ** 32 - 1 branches',
    () => ofBodies([[0, 0x41, 0, 0x0e, ...u(2 ** 32 - 1), 0x0b]]),
    /malformed/,
  ],
  ['300 000 branches', () => ofBodies([[0, ...fill(300_000, [0x41, 0, 0x0d, 0]), 0x0b]]), null],
  [
    'a million constants that are dropped',
    () => ofBodies([[0, ...fill(1_000_000, [0x41, 0, 0x1a]), 0x0b]]),
    null,
  ],
  [
    'a million values made on one way',
    () => ofBodies([[0, ...fill(1_000_000, [0x41, 0, 0x45, 0x1a]), 0x0b]]),
    /more stack/,
  ],
  [
    'what becomes too long when it is metered',
    () => ofBodies([[0, ...fill(1_500_000, [0x41, 0, 0x0d, 0, 0x01]), 0x0b]]),
    /too much code/,
  ],
  [
    'a type of 1 000 parameters',
    () => Buffer.concat([HEADER, section(1, [1, 0x60, ...u(1_000), ...fill(1_000, [0x7f]), 0])]),
    /1000 parameters/,
  ],
  [
    'a million types',
    () => Buffer.concat([HEADER, section(1, [...u(1_000_000), ...fill(1_000_000, [0x60, 0, 0])])]),
    /1000000 types/,
  ],
  [
    'a million sections',
    () => Buffer.concat([HEADER, Buffer.from(fill(1_000_000, [1, 0]))]),
    /malformed/,
  ],
  [
    'a million custom sections',
    () => Buffer.concat([ofBodies([[0, 0x0b]]), Buffer.from(fill(1_000_000, [0, 1, 0]))]),
    null,
  ],
  [
    'tables of ten million entries',
    () => Buffer.concat([HEADER, section(4, [1, 0x70, 0, ...u(10_000_000)])]),
    /entries in its tables/,
  ],
  [
    '10 001 exports',
    () =>
      Buffer.concat([
        HEADER,
        section(5, [1, 0, 1]),
        section(7, [...u(10_001), ...fill(10_001, [0, 0, 0])]),
      ]),
    /10001 exports/,
  ],
  ['names that leave none free', () => ofBodies([[0, 0x0b]], exports(3_000)), null],
  [
    '1 001 globals',
    () =>
      Buffer.concat([HEADER, section(6, [...u(1_001), ...fill(1_001, [0x7f, 1, 0x41, 0, 0x0b])])]),
    /1001 globals/,
  ],
  [
    'a number without an end',
    () => Buffer.concat([HEADER, Buffer.from(fill(1_000, [0xff]))]),
    /malformed/,
  ],
  [
    'more than 20 MiB',
    () => Buffer.concat([HEADER, Buffer.alloc(21 * 1_048_576)]),
    /more than 20971520/,
  ],
];

test.each(HOSTILE)('%s', { timeout: 30_000 }, (_name, build, reason) => {
  const refusal = refusalOf(build());

  if (reason === null) expect(refusal).toBeNull();
  else expect(refusal).toMatch(reason);
});

test('any cut of a module is refused', () => {
  for (const name of ['kv-store', 'only-peers']) {
    const whole = readFileSync(new URL(`../../../examples/${name}/${name}.wasm`, import.meta.url));
    for (let length = 0; length < whole.length; length += 13) {
      expect(refusalOf(whole.subarray(0, length))).not.toBeNull();
    }
  }
});

test('a module with wrong bytes is refused, or gives one that is valid', {
  timeout: 300_000,
}, () => {
  const kinds = { refused: 0, accepted: 0 };
  for (let seed = 1; seed <= MUTATIONS; seed += 1) {
    const random = new Seeded(seed);
    const bytes = encodeProgram(makeProgram(seed, { isFloaty: false, isEndless: false }));
    for (let i = 1 + random.below(4); i > 0; i -= 1) {
      bytes[random.below(bytes.length)] = random.chance(50) ? random.below(256) : random.pick(ODD);
    }
    kinds[refusalOf(bytes) === null ? 'accepted' : 'refused'] += 1;
  }

  expect(kinds.refused).toBeGreaterThan(MUTATIONS / 4);
  expect(kinds.accepted).toBeGreaterThan(MUTATIONS / 20);
});

const ODD = [0x00, 0x40, 0x7f, 0x80, 0xff, 0x0b, 0x05, 0x04, 0x0e, 0x60, 0xfc, 0xfd, 0xfe];

/** Null for a module that is accepted; its metered form is valid then. */
function refusalOf(bytes: Uint8Array): string | null {
  try {
    return WebAssembly.validate(instrument(bytes).bytes) ? null : 'gave an invalid module';
  } catch (error) {
    if (error instanceof AppError && error.code === 'invalid_request') return error.message;
    throw error;
  }
}

/** A module of functions of these bodies, that take and give nothing. */
function ofBodies(
  bodies: readonly (readonly number[])[],
  others: readonly number[] = [],
): Uint8Array {
  const count = u(bodies.length);
  const memory = [...u(6), ...Buffer.from('memory'), 2, 0];
  const exported = others.length === 0 ? [1, ...memory] : [...u(3_001), ...memory, ...others];
  const code = bodies.flatMap((body) => [...u(body.length), ...body]);
  return Buffer.concat([
    HEADER,
    section(1, [1, 0x60, 0, 0]),
    section(3, [...count, ...fill(bodies.length, [0])]),
    section(5, [1, 0, 1]),
    section(7, exported),
    section(10, count.concat(code)),
  ]);
}

/** Exports of function 0 as `fuel`, `fuel'`, `fuel''` and so on. */
function exports(count: number): number[] {
  const items: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const name = Buffer.from(`fuel${"'".repeat(i)}`);
    items.push(...u(name.length), ...name, 0, 0);
  }
  return items;
}

function nested(depth: number, start: readonly number[]): number[] {
  return [0, ...fill(depth, start), ...fill(depth + 1, [0x0b])];
}

function section(id: number, payload: readonly number[]): Buffer {
  return Buffer.concat([Buffer.from([id, ...u(payload.length)]), Buffer.from(payload)]);
}

function fill(count: number, bytes: readonly number[]): number[] {
  return Array.from({ length: count * bytes.length }, (_, i) => bytes[i % bytes.length] ?? 0);
}

function u(value: number): number[] {
  const byte = value % 128;
  return value > 127 ? [byte | 0x80, ...u(Math.floor(value / 128))] : [byte];
}
