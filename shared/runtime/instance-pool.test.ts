import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { expect, test } from 'vitest';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { assemble } from '../../test/support/wat.ts';
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
