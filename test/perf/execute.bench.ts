import { readFile } from 'node:fs/promises';
import { type ApplicationId, ZERO_ID } from '#shared/domain/ids.ts';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { compileProgram } from '#shared/runtime/engines.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { instrument } from '#shared/runtime/metering/instrument.ts';
import { assemble } from '../support/wat.ts';
import { median, printResult } from './bench.ts';

/**
 * What one call of a guest costs this thread, and how much of it is the host's: a call that reads
 * its input, makes 65 storage reads and 15 writes, and commits. The guest's own time is that of the
 * same module on imports that do nothing. `npm run bench:execute`; BENCH_ROUNDS, BENCH_CALLS.
 */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 7);
const CALLS = Number(process.env['BENCH_CALLS'] ?? 5_000);
const READS = 65;
const WRITES = 15;
const VALUE_BYTES = 200;

const guest = assemble(`(module
  (import "env" "input" (func $input (param i64)))
  (import "env" "register_len" (func $register_len (param i64) (result i64)))
  (import "env" "read_register" (func $read_register (param i64 i64 i64) (result i32)))
  (import "env" "storage_read" (func $storage_read (param i64 i64 i64) (result i32)))
  (import "env" "storage_write" (func $storage_write (param i64 i64 i64 i64 i64) (result i32)))
  (import "env" "commit" (func $commit (param i64 i64 i64 i64)))
  (import "env" "value_return" (func $value_return (param i64 i64 i64)))
  (memory (export "memory") 2)
  (func $fetch (param $register i64)
    (drop (call $read_register (local.get $register) (i64.const 8192)
      (call $register_len (local.get $register)))))
  (func (export "call") (local $i i32)
    (call $input (i64.const 0))
    (call $fetch (i64.const 0))
    (loop $reads
      (i32.store (i32.const 1024) (local.get $i))
      (if (call $storage_read (i64.const 1024) (i64.const 32) (i64.const 1))
        (then (call $fetch (i64.const 1))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $reads (i32.lt_u (local.get $i) (i32.const ${READS}))))
    (local.set $i (i32.const 0))
    (loop $writes
      (i32.store (i32.const 1024) (local.get $i))
      (i32.store (i32.const 4096) (i32.add (i32.load (i32.const 8192)) (local.get $i)))
      (drop (call $storage_write (i64.const 1024) (i64.const 32)
        (i64.const 4096) (i64.const ${VALUE_BYTES}) (i64.const 2)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $writes (i32.lt_u (local.get $i) (i32.const ${WRITES}))))
    (call $commit (i64.const 1024) (i64.const 32) (i64.const 4096) (i64.const 100))
    (call $value_return (i64.const 0) (i64.const 8192) (i64.const 10)))
  (func (export "nothing")))`);

const program = compileProgram({
  applicationId: ZERO_ID as ApplicationId,
  engine: 'wasm',
  source: guest,
  instrumented: null,
});
const state = new Map<string, Uint8Array>();
for (let i = 0; i < READS; i += 1) {
  const key = Buffer.alloc(32);
  key.writeUInt32LE(i);
  state.set(key.toString('latin1'), new Uint8Array(VALUE_BYTES).fill(i));
}
const input = (method: string) => ({
  contextId: contextIdFromBytes(new Uint8Array(32)),
  request: {
    kind: 'mutate' as const,
    method,
    payload: Buffer.from('{"key":"value"}'),
    executorPublicKey: publicKeyFromBytes(new Uint8Array(32)),
    principal: 'bench',
    requestId: null,
    timeNs: 0n,
    randomSeed: new Uint8Array(32),
    executionVersion: EXECUTION_VERSION,
    fuelLimit: 1_000_000_000n,
  },
  state,
  readOnly: false,
});
const execute = (method: string) => {
  const { outcome } = program.execute(input(method));
  if (outcome.status !== 'ok') throw new Error(outcome.error ?? 'the guest failed');
  return outcome;
};

/** The guest's own instructions and the boundary that they cross, and nothing behind it. */
function guestAlone(): () => void {
  const code = instrument(guest);
  const module = new WebAssembly.Module(code.bytes);
  const { exports } = new WebAssembly.Instance(module, {
    env: {
      input: () => undefined,
      register_len: () => BigInt(VALUE_BYTES),
      read_register: () => 1,
      storage_read: () => 1,
      storage_write: () => 1,
      commit: () => undefined,
      value_return: () => undefined,
    },
  });
  const fuel = code.fuelGlobal === null ? null : (exports[code.fuelGlobal] as WebAssembly.Global);
  return () => {
    if (fuel !== null) fuel.value = 1_000_000_000n;
    (exports['call'] as () => void)();
  };
}

const runAlone = guestAlone();
const kvStore = compileProgram({
  applicationId: ZERO_ID as ApplicationId,
  engine: 'wasm',
  source: await readFile(new URL('../../examples/kv-store/kv-store.wasm', import.meta.url)),
  instrumented: null,
});
const setInput = {
  ...input('set'),
  request: { ...input('set').request, payload: Buffer.from('{"key":"a","value":"b"}') },
};

const javaScript = compileProgram({
  applicationId: ZERO_ID as ApplicationId,
  engine: 'javascript',
  source: Buffer.from('export const echo = (value) => value;'),
  instrumented: null,
});
const rhai = compileProgram({
  applicationId: ZERO_ID as ApplicationId,
  engine: 'rhai',
  source: Buffer.from('fn echo(args) { args }'),
  instrumented: null,
});
const echoInput = input('echo');

const rounds = { call: [] as number[], guest: [] as number[], nothing: [] as number[] };
const kv: number[] = [];
const javaScriptEcho: number[] = [];
const rhaiEcho: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  rounds.call.push(microseconds(() => void execute('call')));
  rounds.guest.push(microseconds(runAlone));
  rounds.nothing.push(microseconds(() => void execute('nothing')));
  kv.push(microseconds(() => void kvStore.execute(setInput)));
  javaScriptEcho.push(microseconds(() => void javaScript.execute(echoInput)));
  rhaiEcho.push(microseconds(() => void rhai.execute(echoInput)));
}
const { fuelUsed } = execute('call');
const callUs = median(rounds.call);
const guestUs = median(rounds.guest);
printResult(
  'execute',
  {
    callUs,
    guestUs,
    hostUs: callUs - guestUs,
    instanceUs: median(rounds.nothing),
    kvStoreSetUs: median(kv),
    javaScriptEchoUs: median(javaScriptEcho),
    rhaiEchoUs: median(rhaiEcho),
    fuelPerCall: Number(fuelUsed),
  },
  { host_60us: (callUs - guestUs) / 60, ns_per_fuel: (callUs * 1_000) / Number(fuelUsed) },
);

function microseconds(run: () => void): number {
  for (let i = 0; i < CALLS / 5; i += 1) run();
  const startMs = performance.now();
  for (let i = 0; i < CALLS; i += 1) run();
  return ((performance.now() - startMs) / CALLS) * 1_000;
}
