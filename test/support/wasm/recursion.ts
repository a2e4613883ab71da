/**
 * Recurses in shapes made to take much stack for little depth, and prints how each ended, as JSON:
 * `node [V8 options] test/support/wasm/recursion.ts [MiB of stack]`. Each shape runs twice in a
 * thread of its own: with fresh code, and after so many short calls that V8 has optimised it.
 */
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import {
  DEPTH_MAX,
  type InstrumentedModule,
  instrument,
  STACK_SIZE_MB,
} from '#shared/runtime/metering/instrument.ts';
import { assemble } from '../wat.ts';

export interface Recursion {
  readonly shape: string;
  /** `too deep`, or what else ended it. */
  readonly cold: string;
  readonly warm: string;
  /** Calls until it ended. */
  readonly calls: number;
  readonly warmCalls: number;
}

const WARM_CALLS = 30_000;
const TIER_UP_MS = 200;

const tick = '(global.set $calls (i32.add (global.get $calls) (i32.const 1)))';
const deeper = (call: string) =>
  `(if (i32.lt_s (global.get $calls) (global.get $most)) (then ${call}))`;
const times = (count: number, text: (i: number) => string) =>
  Array.from({ length: count }, (_, i) => text(i)).join(' ');
const next = '(i32.add (local.get 0) (i32.const 1))';

/** Functions by what takes the stack. Each exports `f`, which calls itself while it may. */
const SHAPES: Readonly<Record<string, string>> = {
  nothing: `(func $f (export "f") ${tick} ${deeper('(call $f)')})`,
  'declared locals': `
    (func $f (export "f") (local ${times(9_000, () => 'i64')}) ${tick} ${deeper('(call $f)')})`,
  'locals in use': `
    (func $f (export "f") (local ${times(1_000, () => 'f64')}) ${tick}
      ${times(1_000, (i) => `(local.set ${i} (f64.load offset=${i * 8} (i32.const 0)))`)}
      ${deeper('(call $f)')}
      ${times(1_000, (i) => `(f64.store offset=${i * 8} (i32.const 0) (local.get ${i}))`)})`,
  operands: `
    (func $f (export "f") (local $x i64) ${tick}
      ${times(1_000, (i) => `i32.const 0 i64.load offset=${i * 8}`)} ${deeper('(call $f)')}
      ${times(1_000, () => '(local.set $x)')})`,
  // Computed before the call and again after it: the optimising compiler keeps them.
  'repeated expressions': `
    (func $f (param i32) (local i32) ${tick}
      ${times(2_000, (i) => repeated(i))} ${deeper(`(call $f ${next})`)}
      ${times(2_000, (i) => repeated(i))} (global.set $sum (local.get 1)))
    (func (export "f") (call $f (i32.const 5)))`,
  'repeated expressions in a loop': `
    (func $f (param i32) (local i32 i32) ${tick} (local.set 2 (i32.const 2))
      (loop $l ${times(80, (i) => repeated(i))} ${deeper(`(call $f ${next})`)}
        (br_if $l (local.tee 2 (i32.sub (local.get 2) (i32.const 1)))))
      (global.set $sum (local.get 1)))
    (func (export "f") (call $f (i32.const 5)))`,
  parameters: `
    (func $f (param ${times(60, () => 'i64')}) ${tick}
      ${deeper(`(call $f ${times(60, (i) => `(local.get ${(i + 1) % 60})`)})`)}
      ${times(60, (i) => `(i64.store offset=${i * 8} (i32.const 0) (local.get ${i}))`)})
    (func (export "f") (call $f ${times(60, (i) => `(i64.const ${i})`)}))`,
  results: `
    (func $f (result ${times(32, () => 'i64')}) ${tick}
      ${deeper(`(call $f) ${times(32, () => 'drop')}`)}
      ${times(32, (i) => `(i64.load offset=${i * 8} (i32.const 0))`)})
    (func (export "f") (call $f) ${times(32, () => 'drop')})`,
  'indirect calls': `
    (table 1 funcref) (elem (i32.const 0) $f) (type $t (func))
    (func $f (export "f") ${tick} ${deeper('(call_indirect (type $t) (i32.const 0))')})`,
  'two functions in turn': `
    (func $f (export "f") ${tick} ${deeper('(call $g)')})
    (func $g (local i64 i64 i64 i64) ${tick} ${deeper('(call $f)')})`,
  // Called while it warms up, not in the recursion: their frames come by inlining.
  'inlined operands': `
    (func $f (export "f") ${tick} ${times(260, () => 'nop')}
      (if (i32.lt_s (global.get $most) (i32.const 100)) (then (call $g)))
      ${deeper('(call $f)')})
    (func $g ${times(90, () => 'global.get $sum')} (call $h)
      ${times(89, () => 'i32.xor')} (global.set $sum))
    (func $h (if (i32.eqz (global.get $most)) (then (call $h))))`,
  'inlined results': `
    (func $f (export "f") ${tick} ${times(260, () => 'nop')}
      (if (i32.lt_s (global.get $most) (i32.const 100)) (then (call $g)))
      ${deeper('(call $f)')})
    (func $g ${times(40, () => 'call $m')} (call $h) ${times(40, () => 'call $c')})
    (func $m (result ${times(16, () => 'i32')}) ${times(16, () => 'global.get $sum')})
    (func $c (param ${times(16, () => 'i32')})
      (global.set $sum (i32.xor (local.get 3) (local.get 15))))
    (func $h (if (i32.eqz (global.get $most)) (then (call $h))))`,
};

function repeated(i: number): string {
  return `(local.set 1 (i32.xor (local.get 1) (i32.add (local.get 0) (i32.const ${i + 3}))))`;
}

if (isMainThread) {
  const stackSizeMb = Number(process.argv[2] ?? STACK_SIZE_MB);
  const ends: Recursion[] = [];
  for (const [shape, code] of Object.entries(SHAPES)) {
    const module = instrument(assemble(guest(code)));
    const cold = await recurse(module, 0, stackSizeMb);
    const warm = await recurse(module, WARM_CALLS, stackSizeMb);
    ends.push({
      shape,
      cold: cold.end,
      warm: warm.end,
      calls: cold.calls,
      warmCalls: warm.calls,
    });
  }
  process.stdout.write(`${JSON.stringify(ends)}\n`);
} else {
  const { module, warmCalls } = workerData as { module: InstrumentedModule; warmCalls: number };
  parentPort?.postMessage(execute(module, warmCalls));
}

function guest(code: string): string {
  return `(module
    (memory (export "memory") 1)
    (global $calls (export "calls") (mut i32) (i32.const 0))
    (global $most (export "most") (mut i32) (i32.const 0))
    (global $sum (mut i32) (i32.const 0))
    ${code})`;
}

function recurse(module: InstrumentedModule, warmCalls: number, stackSizeMb: number) {
  return new Promise<{ end: string; calls: number }>((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), {
      workerData: { module, warmCalls },
      resourceLimits: { stackSizeMb },
    });
    worker.on('message', resolve);
    worker.on('error', reject);
  });
}

function execute(module: InstrumentedModule, warmCalls: number) {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(module.bytes), {});
  const global = (name: string | null) => exports[name ?? ''] as WebAssembly.Global;
  const call = (most: number) => {
    global('calls').value = 0;
    global('most').value = most;
    global(module.fuelGlobal).value = 1n << 60n;
    global(module.depthGlobal).value = DEPTH_MAX;
    (exports['f'] as () => void)();
  };
  for (let i = 0; i < warmCalls; i += 1) call(2);
  // Optimised code comes from another thread, and is there for the next call.
  if (warmCalls > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, TIER_UP_MS);
  let end = 'returned';
  try {
    call(0x7fff_ffff);
  } catch (error) {
    const isTooDeep = (global(module.depthGlobal).value as number) < 0;
    end = isTooDeep ? 'too deep' : String(error);
  }
  return { end, calls: global('calls').value as number };
}
