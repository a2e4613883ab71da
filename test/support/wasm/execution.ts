import { createHash } from 'node:crypto';
import { type InstrumentedModule, DEPTH_MAX } from '#shared/runtime/metering/instrument.ts';
import { clamp, Interpreter, StepsExceeded } from './interpreter.ts';
import { f32Of, f64Of, Trap } from './numeric.ts';
import { F32, F64, I32, type Program, type Type } from './program.ts';

/** What can be seen of an execution from outside. */
export interface Execution {
  /** `returned`, or the reason of the trap. */
  readonly end: string;
  readonly results: readonly unknown[];
  readonly globals: readonly unknown[];
  /** Digest of the memory. */
  readonly memory: string;
  readonly notes: readonly bigint[];
}

export interface MeteredExecution extends Execution {
  readonly fuelLeft: bigint;
  readonly depthLeft: number;
}

/** The part of V8's messages that counts. */
const REASONS =
  /unreachable|divide by zero|divide result unrepresentable|remainder by zero|float unrepresentable in integer range|table index is out of bounds|signature mismatch|out of bounds/;

/** Executes a function as the oracle does; null if that takes too many steps. */
export function interpret(
  program: Program,
  index: number,
  args: readonly bigint[],
  stepsMax: number,
) {
  const oracle = new Interpreter(program, stepsMax);
  const results = program.functions[index]?.type.results ?? [];
  let end = 'returned';
  let values: readonly bigint[] = [];
  try {
    values = oracle.call(index, args);
  } catch (error) {
    if (error instanceof StepsExceeded) end = 'too long';
    else if (error instanceof Trap) end = error.message;
    else throw error;
  }
  const seen: Execution = {
    end,
    results: values.map((bits, i) => visible(results[i] ?? I32, bits)),
    globals: program.globals.map(({ type }, i) => visible(type, oracle.globals[i] ?? 0n)),
    memory: digest(oracle.memory),
    notes: oracle.notes,
  };
  return { seen, fuel: BigInt(oracle.fuel), madeNan: oracle.madeNan };
}

export function executeOriginal(
  program: Program,
  bytes: Uint8Array<ArrayBuffer>,
  { index, args }: { readonly index: number; readonly args: readonly bigint[] },
): Execution {
  const { instance, notes } = instantiate(bytes);
  return { ...run(instance, program, index, args), notes };
}

export function executeMetered(
  program: Program,
  { bytes, fuelGlobal, depthGlobal }: InstrumentedModule,
  call: { readonly index: number; readonly args: readonly bigint[]; readonly fuel: bigint },
): MeteredExecution {
  const { instance, notes } = instantiate(bytes);
  const fuel = instance.exports[fuelGlobal ?? ''] as WebAssembly.Global;
  const depth = instance.exports[depthGlobal ?? ''] as WebAssembly.Global;
  fuel.value = call.fuel;
  depth.value = DEPTH_MAX;
  const seen = run(instance, program, call.index, call.args);
  return { ...seen, notes, fuelLeft: fuel.value as bigint, depthLeft: depth.value as number };
}

function instantiate(bytes: Uint8Array<ArrayBuffer>) {
  const notes: bigint[] = [];
  const env = {
    note: (a: number, b: bigint) => {
      notes.push(BigInt.asUintN(32, BigInt(a)), BigInt.asUintN(64, b));
      return notes.length;
    },
  };
  return { instance: new WebAssembly.Instance(new WebAssembly.Module(bytes), { env }), notes };
}

function run(
  { exports }: WebAssembly.Instance,
  program: Program,
  index: number,
  args: readonly bigint[],
): Omit<Execution, 'notes'> {
  const { parameters = [], results = [] } = program.functions[index]?.type ?? {};
  const call = exports[`f${index}`] as (...args: readonly unknown[]) => unknown;
  let end = 'returned';
  let values: readonly unknown[] = [];
  try {
    const value = call(...args.map((bits, i) => visible(parameters[i] ?? I32, bits)));
    values =
      results.length > 1 ? [...(value as Iterable<unknown>)] : results.length === 1 ? [value] : [];
  } catch (error) {
    end = reasonOf(error);
  }
  const memory = exports['memory'] as WebAssembly.Memory;
  return {
    end,
    results: values.map((value, i) => unsigned(results[i] ?? I32, value)),
    globals: program.globals.map(({ type }, i) =>
      unsigned(type, (exports[`g${i}`] as WebAssembly.Global).value),
    ),
    memory: digest(new Uint8Array(memory.buffer)),
  };
}

function digest(memory: Uint8Array): string {
  return createHash('sha256').update(memory).digest('hex');
}

function reasonOf(error: unknown): string {
  if (!(error instanceof WebAssembly.RuntimeError)) throw error;
  return REASONS.exec(error.message)?.[0] ?? error.message;
}

/** A value as JavaScript shows it; integers unsigned. */
function visible(type: Type, bits: bigint): unknown {
  const value = clamp(type, bits);
  if (type === I32) return Number(value);
  if (type === F32) return f32Of(value);
  return type === F64 ? f64Of(value) : value;
}

function unsigned(type: Type, value: unknown): unknown {
  if (type === I32) return (value as number) >>> 0;
  return typeof value === 'bigint' ? BigInt.asUintN(64, value) : value;
}
