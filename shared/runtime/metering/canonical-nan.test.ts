import { expect, test } from 'vitest';
import { assemble } from '../../../test/support/wat.ts';
import { instrument } from './instrument.ts';

const SINGLE = '7fc00000';
const DOUBLE = '7ff8000000000000';
const ODD = 'f64.const nan:0x4000000001234';
const ODD_BITS = '7ff4000000001234';

/** What a function without parameters stores at address 0. */
function stored(body: string, bytes: 4 | 8): string {
  const { bytes: code } = instrument(
    assemble(`(module (memory (export "memory") 1)
      (global $double (mut f64) (f64.const 0))
      (func $same (param f64) (result f64) (local.get 0))
      (func $zero (result f64) (f64.const 0))
      (func (export "f") (local $single f32) (local $x f64) (local $y f64) (local $i i32) ${body}))`),
  );
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), {});
  (exports['f'] as () => void)();
  const { buffer } = exports['memory'] as WebAssembly.Memory;
  const bits = Buffer.from(buffer).readBigUInt64LE() & ((1n << BigInt(8 * bytes)) - 1n);
  return bits.toString(16);
}

/** Operands come from locals, so that no compiler works them out. */
const single = (value: string) => stored(`(f32.store (i32.const 0) ${value})`, 4);
const double = (value: string) => stored(`(f64.store (i32.const 0) ${value})`, 8);
const X = '(local.get $x)';
const S = '(local.get $single)';

test.each([
  `(f32.div ${S} ${S})`,
  `(f32.sqrt (f32.sub ${S} (f32.const 1)))`,
  `(f32.mul ${S} (f32.const inf))`,
  `(f32.add ${S} (f32.const -nan:0x1234))`,
  `(f32.sub (f32.const inf) (f32.add ${S} (f32.const inf)))`,
  `(f32.min ${S} (f32.const -nan))`,
  `(f32.max (f32.const -nan) ${S})`,
  `(f32.ceil (f32.const -nan:0x1234))`,
  `(f32.floor (f32.const -nan:0x1234))`,
  `(f32.trunc (f32.const -nan:0x1234))`,
  `(f32.nearest (f32.const -nan:0x1234))`,
  `(f32.demote_f64 (f64.const -nan:0x1234))`,
  `(f32.abs (f32.neg (f32.div ${S} ${S})))`,
])('%s is the canonical NaN', (value) => {
  expect(single(value)).toBe(SINGLE);
});

test.each([
  `(f64.div ${X} ${X})`,
  `(f64.sqrt (f64.sub ${X} (f64.const 1)))`,
  `(f64.min ${X} (${ODD}))`,
  `(f64.ceil (${ODD}))`,
  `(f64.promote_f32 (f32.const -nan:0x1234))`,
  `(call $same (f64.div ${X} ${X}))`,
  `(f64.copysign (f64.div ${X} ${X}) (f64.const 1))`,
  `(select (f64.div ${X} ${X}) (f64.const 1) (i32.const 1))`,
  `(block (result f64) (f64.div ${X} ${X}))`,
  `(block (result f64) (br 0 (f64.div ${X} ${X})))`,
  `(if (result f64) (i32.const 0) (then ${X}) (else (f64.div ${X} ${X})))`,
  `(f64.reinterpret_i64 (i64.reinterpret_f64 (f64.div ${X} ${X})))`,
  `(local.tee $y (f64.div ${X} ${X}))`,
])('%s is the canonical NaN', (value) => {
  expect(double(value)).toBe(DOUBLE);
});

test.each([
  ['a constant', `(${ODD})`, ODD_BITS],
  ['its negation', `(f64.neg (${ODD}))`, 'fff4000000001234'],
  ['its absolute value', `(f64.abs (f64.neg (${ODD})))`, ODD_BITS],
  ['with another sign', `(f64.copysign (${ODD}) (f64.const -1))`, 'fff4000000001234'],
  ['in a call', `(call $same (${ODD}))`, ODD_BITS],
  ['chosen', `(select (f64.const 1) (${ODD}) (local.get $i))`, ODD_BITS],
  ['as an integer', '(f64.reinterpret_i64 (i64.const 0x7ff4000000001234))', ODD_BITS],
  ['the negation of one that was made', `(f64.neg (f64.div ${X} ${X}))`, 'fff8000000000000'],
  [
    'a number with the sign of one that was made',
    `(f64.copysign (f64.const 1) (f64.div ${X} ${X}))`,
    '3ff0000000000000',
  ],
])('a NaN that nothing made keeps its bits: %s', (_name, value, bits) => {
  expect(double(value)).toBe(bits);
});

test('a NaN in a local is canonical when it is read, in a loop and after it', () => {
  const body = `
    (local.set $y (f64.const 1))
    (loop $l
      (local.set $x (f64.sub (f64.mul (local.get $x) (local.get $y)) (f64.const inf)))
      (local.set $y (f64.add (local.get $x) (f64.const inf)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_s (local.get $i) (i32.const 5))))
    (f64.store (i32.const 0) (local.get $y))`;

  expect(stored(body, 8)).toBe(DOUBLE);
});

test('a local that holds a NaN with bits of its own is not made canonical', () => {
  // What is copied to $x becomes such a NaN only in the second round.
  const body = `
    (loop $l
      (local.set $x (local.get $y))
      (f64.store (i32.const 0) (local.get $x))
      (local.set $x (f64.div (local.get $x) (local.get $x)))
      (local.set $y (${ODD}))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_s (local.get $i) (i32.const 2))))`;

  expect(stored(body, 8)).toBe(ODD_BITS);
});

test('a loop that is entered with a number may go on with a NaN of bits of its own', () => {
  const body = `
    (f64.const 1)
    (loop $l (param f64)
      (local.set $x)
      (f64.store (i32.const 0) (local.get $x))
      (local.set $x (f64.mul (local.get $x) (local.get $y)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (${ODD})
      (br_if $l (i32.lt_s (local.get $i) (i32.const 2)))
      (drop))`;

  expect(stored(body, 8)).toBe(ODD_BITS);
});

test('a global holds the canonical NaN', () => {
  const body = `(global.set $double (f64.div ${X} ${X}))
    (f64.store (i32.const 0) (global.get $double))`;

  expect(stored(body, 8)).toBe(DOUBLE);
});
