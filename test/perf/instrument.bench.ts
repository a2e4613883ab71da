import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { type InstrumentedModule, instrument } from '#shared/runtime/metering/instrument.ts';
import { encodeProgram } from '../support/wasm/program.ts';
import { makeProgram } from '../support/wasm/smith.ts';
import { median, printResult } from './bench.ts';
import { compileKernels, KERNELS } from './kernels.ts';

/**
 * How fast modules are instrumented, and what metering costs when they run: original and metered in
 * turn, in the same process. `npm run bench:instrument`; paths of further modules may follow, and
 * BENCH_ROUNDS changes its length.
 */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 15);
const WARM_UP_ROUNDS = 6;
const TIER_UP_MS = 50;
const FUEL = 1n << 60n;
const FUNCTIONS = 2_000;

const figures: Record<string, number> = {};
const ratios: Record<string, number> = {};

const generated = { isFloaty: false, isEndless: false, functions: FUNCTIONS };
const modules = new Map<string, Uint8Array>([
  ['examples', readFileSync(new URL('../../examples/kv-store/kv-store.wasm', import.meta.url))],
  ['generated', encodeProgram(makeProgram(1, generated))],
]);
for (const path of process.argv.slice(2)) modules.set(basename(path), readFileSync(path));
for (const [name, bytes] of modules) {
  const metered = instrument(bytes);
  figures[`${name}_mb_per_s`] = median(
    times(() => instrument(bytes)).map((ms) => bytes.length / ms / 1_000),
  );
  ratios[`${name}_size`] = metered.bytes.length / bytes.length;
}

const kernels = Uint8Array.from(await compileKernels());
const original = start(kernels);
const metered = instrument(kernels);
const instance = start(metered.bytes);
const slower: number[] = [];
for (const [name, argument] of Object.entries(KERNELS)) {
  await measureKernel(name, argument);
}
ratios['median'] = median(slower);
printResult('instrument', figures, ratios);

async function measureKernel(name: string, argument: number): Promise<void> {
  const plain = original[name] as (argument: number) => number;
  const withFuel = instance[name] as (argument: number) => number;
  const fuel = fuelOf(metered, instance);
  const expected = plain(argument);
  for (let i = 0; i < WARM_UP_ROUNDS; i += 1) {
    plain(argument);
    fuel.value = FUEL;
    if (withFuel(argument) !== expected) throw new Error(`${name} gives something else`);
  }
  await new Promise((resolve) => setTimeout(resolve, TIER_UP_MS));
  const plainMs: number[] = [];
  const meteredMs: number[] = [];
  for (let i = 0; i < ROUNDS; i += 1) {
    plainMs.push(timed(() => plain(argument)));
    fuel.value = FUEL;
    meteredMs.push(timed(() => withFuel(argument)));
  }
  const used = FUEL - (fuel.value as bigint);
  figures[`${name}_ms`] = median(meteredMs);
  figures[`${name}_ns_per_fuel`] = (median(meteredMs) * 1e6) / Number(used);
  ratios[name] = median(meteredMs) / median(plainMs);
  slower.push(ratios[name]);
}

function times(run: () => void): number[] {
  for (let i = 0; i < WARM_UP_ROUNDS; i += 1) run();
  return Array.from({ length: ROUNDS }, () => timed(run));
}

function timed(run: () => void): number {
  const startMs = performance.now();
  run();
  return performance.now() - startMs;
}

function start(bytes: Uint8Array<ArrayBuffer>): WebAssembly.Exports {
  return new WebAssembly.Instance(new WebAssembly.Module(bytes), {}).exports;
}

function fuelOf({ fuelGlobal }: InstrumentedModule, exports: WebAssembly.Exports) {
  return exports[fuelGlobal ?? ''] as WebAssembly.Global;
}
