/**
 * Fuel per operator. A log names the version that it was executed by, so a change here, however
 * small, needs a new version.
 *
 * The unit is one simple operator, which takes well below a nanosecond: compiled code runs at 0.02 to
 * 0.2 ns per fuel (`bench:instrument`). Operators that take longer cost more, so that the slowest mix
 * of operators stays within a few times of that. A guest that misses the processor's caches on
 * purpose does not, as nothing counts cache misses.
 *
 * What only marks the structure of the code and leaves no instruction behind is free. Bulk operators
 * and `memory.grow` also cost by length, and pay before they run.
 */
export const COST_TABLE_VERSION = 1;

/** `memory.copy`, `memory.fill` and `memory.init` cost 1 more for each `2 ** BULK_BYTES_SHIFT` bytes. */
export const BULK_BYTES_SHIFT = 2;
/** `memory.grow` costs so much more for each page that it may get: one for each byte. */
export const GROW_PAGE_COST = 65_536;

/** From opcode to opcode; what is not listed costs 1. */
const COSTS: readonly (readonly [from: number, to: number, cost: number])[] = [
  [0x01, 0x03, 0], // nop, block, loop
  [0x05, 0x05, 0], // else
  [0x0b, 0x0b, 0], // end
  [0x10, 0x10, 4], // call
  [0x11, 0x11, 8], // call_indirect
  [0x28, 0x3e, 3], // loads and stores
  [0x40, 0x40, 1_000], // memory.grow
  [0x6d, 0x70, 8], // i32 division and remainder
  [0x7f, 0x82, 8], // i64 division and remainder
  [0x8d, 0x90, 4], // f32.ceil, floor, trunc, nearest
  [0x91, 0x91, 12], // f32.sqrt
  [0x95, 0x95, 12], // f32.div
  [0x96, 0x97, 2], // f32.min, max
  [0x9b, 0x9e, 4], // f64.ceil, floor, trunc, nearest
  [0x9f, 0x9f, 12], // f64.sqrt
  [0xa3, 0xa3, 12], // f64.div
  [0xa4, 0xa5, 2], // f64.min, max
  [0xa8, 0xab, 4], // i32.trunc
  [0xae, 0xb1, 4], // i64.trunc
  [0xb2, 0xb5, 2], // f32.convert
  [0xb7, 0xba, 2], // f64.convert
];

/** The same by the number after the prefix 0xfc. */
const MISC_COSTS: readonly (readonly [from: number, to: number, cost: number])[] = [
  [0, 7, 4], // saturating conversions
  [8, 8, 32], // memory.init
  [10, 11, 32], // memory.copy, memory.fill
];

export const OPERATOR_COSTS = tableOf(COSTS, 256);
export const MISC_OPERATOR_COSTS = tableOf(MISC_COSTS, 12);

function tableOf(costs: typeof COSTS, length: number): Uint16Array {
  const table = new Uint16Array(length).fill(1);
  for (const [from, to, cost] of costs) table.fill(cost, from, to + 1);
  return table;
}
