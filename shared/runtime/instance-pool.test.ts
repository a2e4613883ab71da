import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { expect, test } from 'vitest';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { assemble } from '../../test/support/wat.ts';
import { GuestFault } from './effects.ts';
import { InstancePool, Spare } from './instance-pool.ts';
import { instrument } from './metering/instrument.ts';
import { wasmProgram } from '../../test/support/program.ts';

/** Each method changes something in its instance and returns how often it was changed, as a byte. */
const guest = (functions: string) =>
  assemble(`(module
    (import "env" "value_return" (func $value_return (param i64 i64 i64)))
    (memory (export "memory") 2 20)
    (data (i32.const 100) "\\05")
    (data (i32.const 70000) "\\07")
    (global $calls (mut i32) (i32.const 1))
    (global $wide (mut i64) (i64.const 1))
    (data $passive "\\06")
    (func $give (param $value i32)
      (i32.store8 (i32.const 200) (local.get $value))
      (call $value_return (i64.const 0) (i64.const 200) (i64.const 1)))
    ${functions})`);

const METHODS = {
  global: `(func (export "global")
    (call $give (global.get $calls))
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (global.set $wide (i64.const -1)))`,
  wide: `(func (export "wide") (call $give (i32.wrap_i64 (global.get $wide))))`,
  memory: `(func (export "memory_cell")
    (call $give (i32.add (i32.load8_u (i32.const 100)) (i32.load8_u (i32.const 70000))))
    (i32.store8 (i32.const 100) (i32.const 99))
    (i32.store8 (i32.const 70000) (i32.const 99)))`,
  zeroes: `(func (export "zeroes")
    (call $give (i32.load8_u (i32.const 131071)))
    (memory.fill (i32.const 0) (i32.const 1) (i32.const 131072)))`,
  grow: `(func (export "grow") (call $give (memory.grow (i32.const 1))))`,
  trap: `(func (export "trap") (global.set $calls (i32.const 9)) (unreachable))`,
};
const DROP = `(func (export "drop")
    (memory.init $passive (i32.const 300) (i32.const 0) (i32.const 1))
    (data.drop $passive)
    (call $give (i32.load8_u (i32.const 300))))`;

function open(wasm: Uint8Array) {
  const program = wasmProgram(wasm);
  return (method: string) => {
    const { outcome } = program.execute({
      contextId: contextIdFromBytes(new Uint8Array(32)),
      request: {
        kind: 'mutate',
        method,
        payload: new Uint8Array(),
        executorPublicKey: publicKeyFromBytes(new Uint8Array(32)),
        principal: 'test',
        requestId: null,
        timeNs: 0n,
        randomSeed: new Uint8Array(32),
        executionVersion: EXECUTION_VERSION,
        fuelLimit: 1_000_000_000n,
      },
      state: new Map(),
      readOnly: false,
    });
    return outcome.output?.[0] ?? outcome.error;
  };
}

test('an execution sees nothing of those before it: globals, memory, its size, after a trap', () => {
  const wasm = guest(Object.values(METHODS).join('\n'));
  const call = open(wasm);
  const fresh = Object.fromEntries(
    ['global', 'wide', 'memory_cell', 'zeroes', 'grow', 'trap'].map((method) => [
      method,
      open(wasm)(method),
    ]),
  );

  expect(fresh).toEqual({
    global: 1,
    wide: 1,
    memory_cell: 12,
    zeroes: 0,
    grow: 2,
    trap: 'unreachable code reached',
  });
  for (let round = 0; round < 3; round += 1) {
    for (const first of Object.keys(fresh)) {
      for (const second of Object.keys(fresh)) {
        expect(call(first)).toBe(fresh[first]);
        expect(call(second)).toBe(fresh[second]);
      }
    }
  }
  expect(instrument(wasm).globals).toEqual(['global 0', 'global 1']);
});

test('an instance whose segments may have been dropped is never used again', () => {
  const wasm = guest(DROP);
  const call = open(wasm);

  for (let round = 0; round < 3; round += 1) {
    expect(call('drop')).toBe(6);
  }
  expect(instrument(wasm).globals).toBeNull();
});

test('the exports added for resetting cannot be called, and clash with no other', () => {
  const call = open(
    guest(`${METHODS.global} (func (export "global 0") (call $give (i32.const 8)))`),
  );

  expect(call('global 0')).toBe(8);
  expect(call("global 0'")).toBe(`method "global 0'" not found`);
  expect([call('global'), call('global')]).toEqual([1, 1]);
});

test('what prepare left is where every instance starts, and prepare runs once', () => {
  let prepared = 0;
  const pool = poolOf((guest) => {
    prepared += 1;
    guest.poke(10, 1);
    guest.poke(100, 0);
    guest.grow();
    guest.poke(70_000, 2);
  });
  const seen = () => {
    let cells: number[] = [];
    pool.run((guest) => {
      cells = [10, 100, 70_000, 70_001].map((at) => guest.peek(at));
      cells.push(guest.count());
      for (const at of [10, 100, 70_000, 70_001]) guest.poke(at, 99);
    });
    return cells;
  };

  expect(seen()).toEqual([1, 0, 2, 0, 1]);
  expect(seen()).toEqual([1, 0, 2, 0, 1]);
  pool.run((guest) => guest.grow());
  expect(seen()).toEqual([1, 0, 2, 0, 1]);
  expect(() => pool.run((guest) => guest.trap())).toThrow('unreachable');
  expect(seen()).toEqual([1, 0, 2, 0, 1]);
  expect(prepared).toBe(1);
});

test('a fault of the guest that the host found leaves nothing behind', () => {
  const pool = poolOf((guest) => guest.poke(10, 1));
  const fault = () =>
    pool.run((guest) => {
      guest.poke(10, 99);
      throw new GuestFault('too much');
    });

  expect(fault).toThrow('too much');
  pool.run((guest) => expect(guest.peek(10)).toBe(1));
});

test('pools that share an instance each find what they prepared, whatever their size', () => {
  const spare = new Spare();
  const pools = [1, 2, 3, 4].map((value) =>
    poolOf((guest) => {
      if (value > 2) guest.grow();
      guest.poke(10, value);
      guest.poke(100, value);
    }, spare),
  );

  for (const i of [0, 1, 0, 2, 3, 1, 1, 2, 0]) {
    pools[i]?.run((guest) => {
      const found = [guest.peek(10), guest.peek(100), guest.peek(11), guest.count()];
      expect(found).toEqual([i + 1, i + 1, 0, 1]);
      guest.poke(11, 99);
    });
  }
});

interface Cells {
  peek(at: number): number;
  poke(at: number, value: number): void;
  grow(): void;
  count(): number;
  trap(): void;
}

const CELLS = assemble(`(module
  (memory (export "memory") 1 20)
  (data (i32.const 100) "\\05")
  (global $calls (mut i32) (i32.const 0))
  (func (export "peek") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "poke") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "grow") (drop (memory.grow (i32.const 1))))
  (func (export "count") (result i32)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (global.get $calls))
  (func (export "trap") (unreachable)))`);

function poolOf(prepare: (guest: Cells) => void, spare = new Spare()) {
  const { bytes, globals, fuelGlobal, depthGlobal } = instrument(CELLS);
  const start = (exports: WebAssembly.Exports) => {
    (exports[fuelGlobal ?? ''] as WebAssembly.Global).value = 1_000_000n;
    (exports[depthGlobal ?? ''] as WebAssembly.Global).value = 1_000_000;
  };
  const pool = new InstancePool({
    module: new WebAssembly.Module(bytes),
    imports: {},
    globals,
    spare,
    prepare: (exports) => {
      start(exports);
      prepare(exports as unknown as Cells);
    },
  });
  pool.warmUp();
  return {
    run: (use: (guest: Cells) => void) =>
      pool.run((exports) => {
        start(exports);
        use(exports as unknown as Cells);
      }),
  };
}
