/**
 * What numeric operators give, by opcode, on bits: an independent statement of the specification's
 * section 4.3, with the canonical NaN wherever arithmetic makes one. Throws `Trap`.
 */
export class Trap extends Error {
  override readonly name = 'Trap';
}

type Unary = (a: bigint) => bigint;
type Binary = (a: bigint, b: bigint) => bigint;

const view = new DataView(new ArrayBuffer(8));

export function f32Of(bits: bigint): number {
  view.setUint32(0, Number(bits));
  return view.getFloat32(0);
}

export function f64Of(bits: bigint): number {
  view.setBigUint64(0, bits);
  return view.getFloat64(0);
}

function fromF32(value: number): bigint {
  if (Number.isNaN(value)) return 0x7fc00000n;
  view.setFloat32(0, value);
  return BigInt(view.getUint32(0));
}

function fromF64(value: number): bigint {
  if (Number.isNaN(value)) return 0x7ff8000000000000n;
  view.setFloat64(0, value);
  return view.getBigUint64(0);
}

export const UNARY = new Map<number, Unary>();
export const BINARY = new Map<number, Binary>();
/** Saturating conversions, by the number after 0xfc. */
export const SATURATING = new Map<number, Unary>();

const bool = (value: boolean) => (value ? 1n : 0n);

function defineIntegers(bits: 32 | 64, at: { compare: number; unary: number; binary: number }) {
  const width = BigInt(bits);
  const S = (a: bigint) => BigInt.asIntN(bits, a);
  const U = (a: bigint) => BigInt.asUintN(bits, a);
  const compares: Binary[] = [
    (a, b) => bool(a === b),
    (a, b) => bool(a !== b),
    (a, b) => bool(S(a) < S(b)),
    (a, b) => bool(a < b),
    (a, b) => bool(S(a) > S(b)),
    (a, b) => bool(a > b),
    (a, b) => bool(S(a) <= S(b)),
    (a, b) => bool(a <= b),
    (a, b) => bool(S(a) >= S(b)),
    (a, b) => bool(a >= b),
  ];
  const rotate = (a: bigint, by: bigint) => U((a << by) | (a >> (width - by)));
  const binaries: Binary[] = [
    (a, b) => U(a + b),
    (a, b) => U(a - b),
    (a, b) => U(a * b),
    (a, b) => {
      if (b === 0n) throw new Trap('divide by zero');
      const quotient = S(a) / S(b);
      if (quotient !== S(quotient)) throw new Trap('divide result unrepresentable');
      return U(quotient);
    },
    (a, b) => (b === 0n ? trap('divide by zero') : a / b),
    (a, b) => (b === 0n ? trap('remainder by zero') : U(S(a) % S(b))),
    (a, b) => (b === 0n ? trap('remainder by zero') : a % b),
    (a, b) => a & b,
    (a, b) => a | b,
    (a, b) => a ^ b,
    (a, b) => U(a << (b % width)),
    (a, b) => U(S(a) >> (b % width)),
    (a, b) => a >> (b % width),
    (a, b) => rotate(a, b % width),
    (a, b) => rotate(a, (width - (b % width)) % width),
  ];
  const text = (a: bigint) => a.toString(2).padStart(bits, '0');
  UNARY.set(at.compare, (a) => bool(a === 0n));
  UNARY.set(at.unary, (a) => BigInt(`${text(a)}1`.indexOf('1')));
  UNARY.set(at.unary + 1, (a) => BigInt(bits - 1 - `1${text(a)}`.lastIndexOf('1') + 1));
  UNARY.set(at.unary + 2, (a) => BigInt(text(a).replaceAll('0', '').length));
  for (const [i, run] of compares.entries()) BINARY.set(at.compare + 1 + i, run);
  for (const [i, run] of binaries.entries()) BINARY.set(at.binary + i, run);
}

interface Float {
  readonly bits: 32 | 64;
  readonly of: (bits: bigint) => number;
  readonly from: (value: number) => bigint;
  readonly compare: number;
  readonly unary: number;
}

function defineFloats({ bits, of, from, compare, unary }: Float) {
  const sign = 1n << BigInt(bits - 1);
  const compares: ((a: number, b: number) => boolean)[] = [
    (a, b) => a === b,
    (a, b) => a !== b,
    (a, b) => a < b,
    (a, b) => a > b,
    (a, b) => a <= b,
    (a, b) => a >= b,
  ];
  const rounds: ((a: number) => number)[] = [Math.ceil, Math.floor, Math.trunc, nearest, Math.sqrt];
  const binaries: ((a: number, b: number) => number)[] = [
    (a, b) => a + b,
    (a, b) => a - b,
    (a, b) => a * b,
    (a, b) => a / b,
    Math.min,
    Math.max,
  ];
  UNARY.set(unary, (a) => a & ~sign);
  UNARY.set(unary + 1, (a) => a ^ sign);
  for (const [i, run] of rounds.entries()) UNARY.set(unary + 2 + i, (a) => from(run(of(a))));
  for (const [i, run] of binaries.entries()) {
    BINARY.set(unary + 7 + i, (a, b) => from(run(of(a), of(b))));
  }
  BINARY.set(unary + 13, (a, b) => (a & ~sign) | (b & sign));
  for (const [i, run] of compares.entries()) {
    BINARY.set(compare + i, (a, b) => bool(run(of(a), of(b))));
  }
}

/** Rounds half to even. */
function nearest(a: number): number {
  const floor = Math.floor(a);
  const rest = a - floor;
  if (!(Math.abs(a) < 2 ** 52)) return a;
  const rounded = rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
  return rounded === 0 && (a < 0 || Object.is(a, -0)) ? -0 : rounded;
}

function trap(reason: string): never {
  throw new Trap(reason);
}

function defineTruncations() {
  const sources = [
    { of: f32Of, name: 'f32' },
    { of: f64Of, name: 'f64' },
  ];
  for (const [row, bits] of [32, 64].entries()) {
    for (const [column, { of }] of sources.entries()) {
      for (const [i, isSigned] of [true, false].entries()) {
        const opcode = (row === 0 ? 0xa8 : 0xae) + column * 2 + i;
        const [low, high] = isSigned
          ? [-(2n ** BigInt(bits - 1)), 2n ** BigInt(bits - 1) - 1n]
          : [0n, 2n ** BigInt(bits) - 1n];
        UNARY.set(opcode, (a) => {
          const value = Math.trunc(of(a));
          if (!Number.isFinite(value)) throw new Trap('float unrepresentable in integer range');
          const whole = BigInt(value);
          if (whole < low || whole > high) throw new Trap('float unrepresentable in integer range');
          return BigInt.asUintN(bits, whole);
        });
        SATURATING.set(row * 4 + column * 2 + i, (a) => {
          const value = Math.trunc(of(a));
          if (Number.isNaN(value)) return 0n;
          if (value === Infinity) return BigInt.asUintN(bits, high);
          if (value === -Infinity) return BigInt.asUintN(bits, low);
          const whole = BigInt(value);
          const clamped = whole < low ? low : whole > high ? high : whole;
          return BigInt.asUintN(bits, clamped);
        });
      }
    }
  }
}

function defineConversions() {
  const same: Unary = (a) => a;
  const extend =
    (from: number, to: number): Unary =>
    (a) =>
      BigInt.asUintN(to, BigInt.asIntN(from, a));
  UNARY.set(0xa7, (a) => BigInt.asUintN(32, a));
  UNARY.set(0xac, extend(32, 64));
  UNARY.set(0xad, same);
  UNARY.set(0xb2, (a) => fromF32(Number(BigInt.asIntN(32, a))));
  UNARY.set(0xb3, (a) => fromF32(Number(a)));
  UNARY.set(0xb4, (a) => roundToF32(BigInt.asIntN(64, a)));
  UNARY.set(0xb5, (a) => roundToF32(a));
  UNARY.set(0xb6, (a) => fromF32(f64Of(a)));
  UNARY.set(0xb7, (a) => fromF64(Number(BigInt.asIntN(32, a))));
  UNARY.set(0xb8, (a) => fromF64(Number(a)));
  UNARY.set(0xb9, (a) => fromF64(Number(BigInt.asIntN(64, a))));
  UNARY.set(0xba, (a) => fromF64(Number(a)));
  UNARY.set(0xbb, (a) => fromF64(f32Of(a)));
  for (const opcode of [0xbc, 0xbd, 0xbe, 0xbf]) UNARY.set(opcode, same);
  UNARY.set(0xc0, extend(8, 32));
  UNARY.set(0xc1, extend(16, 32));
  UNARY.set(0xc2, extend(8, 64));
  UNARY.set(0xc3, extend(16, 64));
  UNARY.set(0xc4, extend(32, 64));
}

/** Rounds once: by way of f64, 64-bit integers would be rounded twice. */
function roundToF32(value: bigint): bigint {
  const magnitude = value < 0n ? -value : value;
  const excess = BigInt(Math.max(0, magnitude.toString(2).length - 24));
  const unit = 1n << excess;
  const half = unit >> 1n;
  let kept = magnitude / unit;
  const rest = magnitude % unit;
  if (rest > half || (rest === half && excess > 0n && kept % 2n === 1n)) kept += 1n;
  const rounded = Number(kept * unit);
  return fromF32(value < 0n ? -rounded : rounded);
}

defineIntegers(32, { compare: 0x45, unary: 0x67, binary: 0x6a });
defineIntegers(64, { compare: 0x50, unary: 0x79, binary: 0x7c });
defineFloats({ bits: 32, of: f32Of, from: fromF32, compare: 0x5b, unary: 0x8b });
defineFloats({ bits: 64, of: f64Of, from: fromF64, compare: 0x61, unary: 0x99 });
defineTruncations();
defineConversions();
