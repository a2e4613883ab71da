import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { AppError } from '#shared/domain/app-error.ts';
import { oddGuest } from '../../../test/guests/odd-guest.ts';
import { assemble } from '../../../test/support/wat.ts';
import { DEPTH_MAX, instrument } from './instrument.ts';

const MEMORY = '(memory (export "memory") 1)';
const EXAMPLES = ['kv-store', 'only-peers'].map((name) =>
  readFileSync(new URL(`../../../examples/${name}/${name}.wasm`, import.meta.url)),
);

describe('a module that is metered', () => {
  test.each([
    ['the key-value store', () => EXAMPLES[0]],
    ['the forum', () => EXAMPLES[1]],
    ['the odd guest of ABI v1', () => assemble(oddGuest(1))],
    ['the odd guest of ABI v2', () => assemble(oddGuest(2))],
  ])('is valid and keeps its imports and exports: %s', (_name, read) => {
    const source = new Uint8Array(read() ?? []);

    const metered = instrument(source);

    const before = new WebAssembly.Module(source);
    const after = new WebAssembly.Module(metered.bytes);
    const added = [...(metered.globals ?? []), metered.fuelGlobal, metered.depthGlobal];
    expect(WebAssembly.Module.imports(after)).toEqual(WebAssembly.Module.imports(before));
    expect(WebAssembly.Module.exports(after)).toEqual([
      ...WebAssembly.Module.exports(before),
      ...added.map((name) => ({ name, kind: 'global' })),
    ]);
  });

  test('is the same each time', () => {
    for (const source of EXAMPLES) {
      expect(Buffer.compare(instrument(source).bytes, instrument(source).bytes)).toBe(0);
    }
  });

  test('has counters that are never among the globals to reset, under names of their own', () => {
    const metered = instrument(
      assemble(`(module ${MEMORY} (global (mut i64) (i64.const 5)) (global i32 (i32.const 1))
        (func (export "fuel")) (func (export "depth")) (func (export "depth'"))
        (func (export "global 0")))`),
    );
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(metered.bytes), {});
    const value = (name: string | null | undefined) =>
      (exports[name ?? ''] as WebAssembly.Global).value;

    expect(metered).toMatchObject({
      fuelGlobal: "fuel'",
      depthGlobal: "depth''",
      globals: ["global 0'"],
    });
    expect(value(metered.fuelGlobal)).toBe(2n ** 63n - 1n);
    expect(value(metered.depthGlobal)).toBe(DEPTH_MAX);
    expect(value(metered.globals?.[0])).toBe(5n);
  });

  test('cannot be put back when it drops a segment', () => {
    const drop = `(module ${MEMORY} (data $d "x") (func (export "f") (data.drop $d)))`;

    expect(instrument(assemble(drop)).globals).toBeNull();
  });

  test('has no custom sections', () => {
    const named = assemble(`(module ${MEMORY} (func $name (export "f")))`);
    const custom = Buffer.concat([named, Buffer.from([0, 5, 4, ...Buffer.from('abcd')])]);

    const { bytes } = instrument(custom);

    expect(WebAssembly.Module.customSections(new WebAssembly.Module(bytes), 'abcd')).toEqual([]);
  });

  test('may be one that nothing is added to, but for a bound on its memory', () => {
    const source = assemble(`(module ${MEMORY} (func (export "f") (loop (br 0))))`);

    const plain = instrument(source, { metered: false });

    expect(plain).toMatchObject({ fuelGlobal: null, depthGlobal: null, globals: null });
    expect(WebAssembly.Module.exports(new WebAssembly.Module(plain.bytes))).toHaveLength(2);
    expect(plain.bytes.length).toBeLessThanOrEqual(source.length + 20);
  });

  test.each([
    ['no maximum', '(memory (export "memory") 1)'],
    ['a large maximum', '(memory (export "memory") 1 65536)'],
  ])('gets at most 64 MiB of memory with %s', (_name, memory) => {
    const { bytes } = instrument(
      assemble(`(module ${memory}
        (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))`),
    );
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {});
    const grow = exports['grow'] as (pages: number) => number;

    expect([grow(1_024), grow(-1), grow(1_023), grow(1)]).toEqual([-1, -1, 1, -1]);
  });
});

const HEADER = '0061736d01000000';
const TYPE = '010401600000';
const FUNCTION = '03020100';
const MEMORY_SECTION = '0503010001';
const EXPORT = '070a01066d656d6f72790200';

/** A module of one function without locals, by its code in hexadecimal digits. */
function moduleOf(code: string, sections = ''): Buffer {
  const body = Buffer.from(`00${code.replaceAll(' ', '')}0b`, 'hex');
  const payload = Buffer.from([1, body.length, ...body]);
  return Buffer.concat([
    Buffer.from(HEADER + TYPE + FUNCTION + MEMORY_SECTION + sections + EXPORT, 'hex'),
    Buffer.from([10, payload.length]),
    payload,
  ]);
}

describe('what no guest may use is refused with a reason', () => {
  test.each<readonly [string, () => Uint8Array, RegExp]>([
    [
      'SIMD',
      () => assemble(`(module ${MEMORY} (func (drop (v128.const i32x4 0 0 0 0))))`, { simd: true }),
      /uses SIMD/,
    ],
    [
      'a parameter of SIMD',
      () => assemble(`(module ${MEMORY} (func (param v128)))`, { simd: true }),
      /not numbers/,
    ],
    [
      'a local of SIMD',
      () => assemble(`(module ${MEMORY} (func (local v128)))`, { simd: true }),
      /not numbers/,
    ],
    [
      'atomics',
      () =>
        assemble(`(module ${MEMORY} (func (drop (i32.atomic.load (i32.const 0)))))`, {
          threads: true,
        }),
      /uses threads/,
    ],
    [
      'shared memory',
      () => assemble('(module (memory (export "memory") 1 1 shared))', { threads: true }),
      /shared or 64-bit/,
    ],
    [
      '64-bit memory',
      () => assemble('(module (memory (export "memory") i64 1))', { memory64: true }),
      /shared or 64-bit/,
    ],
    ['a 64-bit table', () => Buffer.from(`${HEADER}040401700401`, 'hex'), /64-bit table/],
    ['two memories', () => Buffer.from(`${HEADER}05050200010001`, 'hex'), /more than one memory/],
    [
      'the index of a memory behind an alignment',
      () => moduleOf('41 00 28 42 00 00 1a'),
      /several memories/,
    ],
    [
      'an imported memory',
      () => assemble('(module (import "env" "memory" (memory 1)))'),
      /not a function/,
    ],
    [
      'an imported global',
      () => assemble('(module (import "env" "g" (global i32)))'),
      /not a function/,
    ],
    [
      'an imported table',
      () => assemble('(module (import "env" "t" (table 1 funcref)))'),
      /not a function/,
    ],
    [
      'a start function',
      () => assemble(`(module ${MEMORY} (func $s) (start $s))`),
      /start function/,
    ],
    [
      'exceptions',
      () => assemble(`(module ${MEMORY} (tag) (func (throw 0)))`, { exceptions: true }),
      /exceptions/,
    ],
    [
      'catching all',
      () => assemble(`(module ${MEMORY} (func (try (do) (catch_all))))`, { exceptions: true }),
      /uses exceptions/,
    ],
    ['try_table', () => moduleOf('1f 40 00 0b'), /uses exceptions/],
    [
      'tail calls',
      () => assemble(`(module ${MEMORY} (func $f (return_call $f)))`, { tail_call: true }),
      /uses tail calls/,
    ],
    [
      'table.get',
      () =>
        assemble(`(module ${MEMORY} (table 1 funcref) (func (drop (table.get 0 (i32.const 0)))))`, {
          reference_types: true,
        }),
      /uses reference types/,
    ],
    [
      'table.set',
      () =>
        assemble(
          `(module ${MEMORY} (table 1 funcref) (func (table.set 0 (i32.const 0) (ref.null func))))`,
          { reference_types: true },
        ),
      /uses reference types/,
    ],
    [
      'table.copy',
      () =>
        assemble(
          `(module ${MEMORY} (table 1 funcref) (func (table.copy (i32.const 0) (i32.const 0) (i32.const 0))))`,
          { reference_types: true },
        ),
      /uses table operators/,
    ],
    [
      'a table of anything',
      () => assemble(`(module ${MEMORY} (table 1 externref))`, { reference_types: true }),
      /something but functions/,
    ],
    [
      'a global reference',
      () =>
        assemble(`(module ${MEMORY} (global funcref (ref.null func)))`, { reference_types: true }),
      /not numbers/,
    ],
    ['a typed select', () => moduleOf('41 00 41 00 41 00 1c 01 7f 1a'), /uses reference types/],
    [
      'a block of a typed reference',
      () => moduleOf('02 63 00 d0 00 0b 1a'),
      /uses reference types/,
    ],
    ['garbage collection', () => moduleOf('41 00 fb 1c 1a'), /uses garbage collection/],
    ['a structure type', () => Buffer.from(`${HEADER}0103015f00`, 'hex'), /not a function type/],
    ['what V8 does not know', () => moduleOf('ff'), /malformed/],
  ])('%s', (_name, build, reason) => {
    const error = refusalOf(build());

    expect(error.code).toBe('invalid_request');
    expect(error.message).toMatch(/^the application cannot be installed: /);
    expect(error.message).toMatch(reason);
  });
});

function refusalOf(bytes: Uint8Array): AppError {
  try {
    instrument(bytes);
  } catch (error) {
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('the module was accepted');
}
