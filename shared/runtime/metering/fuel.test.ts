import { describe, expect, test } from 'vitest';
import { assemble } from '../../../test/support/wat.ts';
import { GROW_PAGE_COST, MISC_OPERATOR_COSTS, OPERATOR_COSTS } from './cost-table.ts';
import { DEPTH_MAX, instrument } from './instrument.ts';

const PLENTY = 1n << 50n;

interface End {
  readonly error: string | null;
  readonly used: bigint;
  readonly fuelLeft: bigint;
  readonly depthLeft: number;
}

/** Calls `f` of a module with these functions. */
function run(functions: string, fuel: bigint = PLENTY, ...args: readonly number[]): End {
  const metered = instrument(
    assemble(`(module (memory (export "memory") 1 3) (data $text "abc")
      (type $t (func)) (table 4 funcref) ${functions})`),
  );
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(metered.bytes), {});
  const fuelLeft = exports[metered.fuelGlobal ?? ''] as WebAssembly.Global;
  const depthLeft = exports[metered.depthGlobal ?? ''] as WebAssembly.Global;
  fuelLeft.value = fuel;
  let error: string | null = null;
  try {
    (exports['f'] as (...args: readonly number[]) => void)(...args);
  } catch (reason) {
    error = (reason as Error).message;
  }
  const left = fuelLeft.value as bigint;
  return { error, used: fuel - left, fuelLeft: left, depthLeft: depthLeft.value as number };
}

describe('what ends by itself costs what its operators cost', () => {
  const cost = (...opcodes: readonly number[]) =>
    opcodes.reduce((sum, opcode) => sum + (OPERATOR_COSTS[opcode] ?? Number.NaN), 0);
  const bulk = (MISC_OPERATOR_COSTS[11] ?? Number.NaN) + 3 * cost(0x41);

  test.each<readonly [string, string, number]>([
    ['nothing', '', 0],
    ['structure', 'nop (block (block nop)) (loop nop)', 0],
    ['a constant and its drop', '(drop (i32.const 1))', 2],
    ['the side that is taken', '(if (i32.const 0) (then nop nop) (else (drop (i32.const 1))))', 4],
    ['no side', '(if (i32.const 0) (then (drop (i32.const 1))))', 2],
    [
      'a loop of three rounds',
      `(local $i i32) (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $l (i32.lt_u (local.get $i) (i32.const 3))))`,
      3 * 8,
    ],
    ['what is left by a branch', '(block (br 0) (drop (i32.const 1)))', 1],
    ['a division', '(drop (i32.div_u (i32.const 1) (i32.const 1)))', 3 + cost(0x6d)],
    ['no bytes', '(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))', bulk],
    ['3 bytes', '(memory.fill (i32.const 0) (i32.const 0) (i32.const 3))', bulk],
    ['1000 bytes', '(memory.fill (i32.const 0) (i32.const 0) (i32.const 1000))', bulk + 250],
    ['two pages', '(drop (memory.grow (i32.const 2)))', 2 + cost(0x40) + 2 * GROW_PAGE_COST],
    ['more pages than there are', '(drop (memory.grow (i32.const -1)))', 2 + cost(0x40)],
  ])('%s', (_name, body, fuel) => {
    expect(run(`(func (export "f") ${body})`)).toMatchObject({ error: null, used: BigInt(fuel) });
  });
});

describe('what does not end runs out of fuel', () => {
  test.each([
    ['an empty loop', '(loop (br 0))'],
    ['a loop in a loop', '(loop (loop (br 1)))'],
    ['loops whose heads are the same', '(loop (loop (br_if 0 (i32.const 1)) (br 1)))'],
    ['a loop with a side that leaves it', '(loop (if (i32.const 0) (then (return))) (br 0))'],
    ['a loop that goes on in both sides', '(loop (if (i32.const 1) (then (br 1)) (else (br 1))))'],
    ['a loop by a table', '(loop (br_table 0 0 0 (i32.const 1)))'],
    [
      'a loop that goes on in one side of a fork, where the other side costs more',
      '(block (loop (br_if 1 (i32.const 0)) (block (br_if 0 (i32.const 1)) (drop (i32.const 1)) (br 2)) (br 0)))',
    ],
    [
      'memory that is filled',
      '(loop (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536)) (br 0))',
    ],
    ['memory that does not grow', '(loop (drop (memory.grow (i32.const 0))) (br 0))'],
  ])('%s', (_name, body) => {
    const { error, fuelLeft } = run(`(func (export "f") ${body})`, 1_000_000n);

    expect(error).toBe('unreachable');
    expect(fuelLeft).toBeLessThan(0n);
    expect(fuelLeft).toBeGreaterThan(-100_000n);
  });

  test('with no fuel, nothing runs', () => {
    const { error, used } = run('(func (export "f") (drop (i32.const 1)))', 0n);

    expect([error, used]).toEqual(['unreachable', 2n]);
  });
});

describe('bulk operators pay before they run, whatever the length', () => {
  test.each([
    ['memory.fill', '(memory.fill (i32.const 0) (i32.const 1) (local.get 0))'],
    ['memory.copy', '(memory.copy (i32.const 0) (i32.const 0) (local.get 0))'],
    ['memory.init', '(memory.init $text (i32.const 0) (i32.const 0) (local.get 0))'],
  ])('%s', (_name, body) => {
    const call = (length: number, fuel: bigint) =>
      run(`(func (export "f") (param i32) ${body})`, fuel, length);

    expect(call(-1, 1_000n)).toMatchObject({ error: 'unreachable', used: 35n + 0x3fff_ffffn });
    expect(call(-1, PLENTY)).toMatchObject({ error: 'memory access out of bounds' });
    expect(call(3, PLENTY)).toMatchObject({ error: null, used: 35n });
    expect(call(3, 34n)).toMatchObject({ error: 'unreachable' });
  });

  test('memory.grow', () => {
    const { error, fuelLeft } = run(
      '(func (export "f") (drop (memory.grow (i32.const 1))))',
      BigInt(GROW_PAGE_COST),
    );

    expect(error).toBe('unreachable');
    expect(fuelLeft).toBeLessThan(0n);
  });
});

describe('depth', () => {
  const leave = (body: string) => `
    (elem (i32.const 0) $leaf $leaf)
    (func $leaf)
    (func $two (result i32 i64) (call $leaf) (i32.const 1) (i64.const 2))
    (func (export "f") (param i32) (call $leaf) ${body})`;

  test.each([
    ['by its end', ''],
    ['by return', '(return)'],
    ['by return from blocks', '(block (loop (block (return))))'],
    ['by a branch', '(br 0)'],
    ['by a branch from a block', '(block (br 1))'],
    ['by a branch on a condition', '(br_if 0 (i32.const 1)) (unreachable)'],
    ['by a table', '(block (br_table 0 1 0 (local.get 0))) (unreachable)'],
    ['after functions of several results', '(call $two) (drop) (drop)'],
    ['after an indirect call', '(call_indirect (type $t) (i32.const 1))'],
  ])('is what it was when a function is left %s', (_name, body) => {
    expect(run(leave(body), PLENTY, 1)).toMatchObject({ error: null, depthLeft: DEPTH_MAX });
  });

  test('is left alone by a function that calls nothing', () => {
    const trap = run('(func (export "f") (unreachable))');

    expect(trap).toMatchObject({ error: 'unreachable', depthLeft: DEPTH_MAX });
  });

  test('ends a recursion, and is negative then', () => {
    const { error, depthLeft, fuelLeft } = run('(func $f (export "f") (call $f))');

    expect(error).toBe('unreachable');
    expect(depthLeft).toBeLessThan(0);
    expect(fuelLeft).toBeGreaterThan(0n);
  });
});
