import type { FunctionScan } from './function-scan.ts';

/**
 * How deep a call may go, in bytes of stack. V8's own limit depends on the compiler that a function
 * went through and cannot be part of an outcome, so each function that calls others is weighed by
 * the most that its frame may take in any of them, and the sum is bounded.
 */
export const DEPTH_MAX = 16 * 1_048_576;

/** A function of more is refused: it could go beyond the stack at its entry. */
export const FRAME_BYTES_MAX = 4 * 1_048_576;

/**
 * Stack of a thread that executes guests, as `resourceLimits.stackSizeMb`: what weighed frames may
 * take, one frame that is found too deep or calls nothing, 1 MiB for the host, and half as much again.
 */
export const STACK_SIZE_MB = 32;

const SLOT_BYTES = 8;
const FIXED_BYTES = 64;
/**
 * V8's `wasm-inlining-factor` (less the function itself), `wasm-inlining-budget` and
 * `wasm-inlining-min-budget`, which are bytes of code.
 */
const INLINED_FACTOR = 2;
const INLINED_TOTAL_BYTES = 5_000;
const INLINED_BYTES_MIN = 50;

/**
 * The most bytes of stack that a frame may take, from what its code is and how long it is once
 * metered.
 *
 * - The simple compiler gives each local and each operand a slot. Arguments and results that do not
 *   fit into registers are on the stack once more.
 * - The optimising compiler gives slots to values that live across a call. These are locals and
 *   operands, and values that it found computed again later: never more than are made on every way
 *   to a place (`valuesMax`).
 * - It also inlines what is called: up to twice the function's own code, or a tenth of it if it is
 *   large. Two bytes of code, a call, make at most `resultsMax` values.
 */
export function weighFrame(scan: FunctionScan, codeBytes: number, resultsMax: number): number {
  const { parameters, results, locals, stack, valuesMax, hasCalls } = scan;
  const slots = parameters + results + locals + stack.heightMax + valuesMax;
  const inlinedValues = hasCalls ? (inlinedBytes(codeBytes) / 2) * resultsMax : 0;
  return Math.ceil(FIXED_BYTES + SLOT_BYTES * (slots + inlinedValues));
}

function inlinedBytes(codeBytes: number): number {
  const most = Math.max(INLINED_TOTAL_BYTES - codeBytes, codeBytes / 10);
  return INLINED_BYTES_MIN + Math.min(INLINED_FACTOR * codeBytes, most);
}
