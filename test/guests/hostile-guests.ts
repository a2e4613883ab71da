import type { Engine } from '#shared/domain/engine.ts';
import { assemble } from '../support/wat.ts';

/** What a guest may try, and the one error that each gets, in every engine. */
export const MISDEEDS = {
  spin: /^out of fuel$/,
  recurse: /stack overflow|call stack|too many nested calls/i,
  allocate: /memory|out of fuel|too large/i,
  flood_logs: /^logs overflow$/,
  emit_1000: /^events overflow$/,
  write_1_gb: /^(writes overflow|out of fuel)$/,
  fail_loudly: /^guest panicked: it broke( at |$)/,
  return_100_mb: /^value length overflow$|memory|out of fuel|too large/i,
} as const;
export type Misdeed = keyof typeof MISDEEDS;

const WASM = `(module
  (import "env" "log_utf8" (func $log (param i64 i64)))
  (import "env" "emit" (func $emit (param i64 i64 i64 i64)))
  (import "env" "storage_write" (func $write (param i64 i64 i64 i64 i64) (result i32)))
  (import "env" "value_return" (func $return (param i64 i64 i64)))
  (import "env" "panic_utf8" (func $panic (param i64 i64 i64 i64 i32 i32)))
  (memory (export "memory") 18)
  (data (i32.const 64) "it brokea.rs")
  (func (export "spin") (loop $again (br $again)))
  (func $recurse (param i32) (result i32)
    (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (local.get 0)))
  (func (export "recurse") (drop (call $recurse (i32.const 0))))
  (func (export "allocate")
    (loop $again (br_if $again (i32.ge_s (memory.grow (i32.const 16)) (i32.const 0))))
    (drop (i32.load (i32.const -4))))
  (func (export "flood_logs")
    (loop $again (call $log (i64.const 64) (i64.const 8)) (br $again)))
  (func (export "emit_1000") (local $i i32)
    (loop $again
      (call $emit (i64.const 64) (i64.const 8) (i64.const 64) (i64.const 8))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_s (local.get $i) (i32.const 1000)))))
  (func (export "write_1_gb") (local $i i32)
    (loop $again
      (i32.store (i32.const 0) (local.get $i))
      (drop (call $write (i64.const 0) (i64.const 4) (i64.const 0) (i64.const 1048576) (i64.const 0)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $again (i32.lt_s (local.get $i) (i32.const 1024)))))
  (func (export "fail_loudly")
    (call $panic (i64.const 64) (i64.const 8) (i64.const 72) (i64.const 4) (i32.const 1) (i32.const 2)))
  (func (export "return_100_mb")
    (call $return (i64.const 0) (i64.const 0) (i64.const 104857600))))`;

const JAVASCRIPT = `
  import { emit, log, storage } from 'cairn';
  export const spin = () => { for (;;); };
  export const recurse = () => 1 + recurse();
  export const allocate = () => { const all = []; for (;;) all.push(new Uint8Array(65536)); };
  export const flood_logs = () => { for (;;) log('x'); };
  export const emit_1000 = () => { for (let i = 0; i < 1000; i += 1) emit('kind', i); };
  export const write_1_gb = () => {
    const megabyte = new Uint8Array(1048576);
    for (let i = 0; i < 1024; i += 1) storage.set('key ' + i, megabyte);
  };
  export const fail_loudly = () => { throw new Error('it broke'); };
  export const return_100_mb = () => 'x'.repeat(104857600);
`;

const RHAI = `
  fn spin() { let n = 0; while true { n += 1; } }
  fn recurse() { 1 + recurse() }
  fn allocate() { let all = []; while true { all.push(blob(65536, 1)); } }
  fn flood_logs() { while true { log("x"); } }
  fn emit_1000() { for i in 0..1000 { emit("kind", i); } }
  fn write_1_gb() {
    let megabyte = blob(1048576, 1);
    for i in 0..1024 { storage::set(\`key \${i}\`, megabyte); }
  }
  fn fail_loudly() { throw "it broke"; }
  fn return_100_mb() { let s = "x"; s.pad(104857600, "x"); s }
`;

/** The same misdeeds in every engine, as what an application of it is installed from. */
export const HOSTILE: readonly (readonly [Engine, () => Uint8Array])[] = [
  ['wasm', () => assemble(WASM)],
  ['javascript', () => Buffer.from(JAVASCRIPT)],
  ['rhai', () => Buffer.from(RHAI)],
];
