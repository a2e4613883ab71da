import { expect, test } from 'vitest';
import { leavesTraces } from './wasm-code.ts';

/** A code section of one function without locals. */
function section(body: string): Uint8Array {
  const code = Buffer.from(body.replaceAll(' ', ''), 'hex');
  return Uint8Array.from([1, code.length + 2, 0, ...code, 0x0b]);
}

test('harmless instructions of every form of immediate are seen as such', () => {
  for (const body of [
    '41 2a 1a', // i32.const 42, drop
    '42 ff ff ff ff ff ff ff ff ff 00 1a', // i64.const of ten bytes
    '44 00 00 26 00 00 00 26 00 1a', // f64.const whose bytes look like table.set
    '02 40 0c 00 0b', // block without a type
    '02 7f 41 01 0b 1a', // block of i32
    '02 85 01 0b', // block of a function type
    '41 00 28 02 10 1a', // i32.load
    '41 00 0e 02 00 00 00', // br_table
    '41 00 41 00 41 00 fc 0b 00', // memory.fill
  ]) {
    expect(leavesTraces(section(body)), body).toBe(false);
  }
});

test.each([
  ['table.set', '41 00 d2 00 26 00'],
  [
    'table.set behind an alignment that hides a memory index',
    '41 00 d2 01 41 00 41 00 36 42 00 41 26 00',
  ],
  [
    'table.set in a block whose type is a typed reference',
    `02 63 c4 0e 41 00 d2 01 26 00 ${'01 '.repeat(64)} d0 c4 0e 0b 1a`,
  ],
  ['elem.drop', 'fc 0d 00'],
  ['table.init', '41 00 41 00 41 00 fc 0c 00 00'],
  ['an instruction of SIMD', 'fd 0c 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 1a'],
  ['a typed select', '41 00 41 00 41 00 1c 01 7f 1a'],
])('%s leaves traces, or may', (_name, body) => {
  expect(leavesTraces(section(body))).toBe(true);
});
