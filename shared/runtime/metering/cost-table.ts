/**
 * Fuel per operator. A log names the version that it was executed by, so a change here, however
 * small, needs a new version.
 *
 * - Free is what only marks the structure of the code and leaves no instruction behind:
 *   `block`, `loop`, `else`, `end`, `nop`.
 * - What calls out of compiled code, or takes the processor much longer than an addition, costs
 *   more, so that no guest gets much time for little fuel.
 * - Everything else costs 1.
 * - `memory.copy`, `memory.fill` and `memory.init` cost one more for every `2 ** BULK_BYTES_SHIFT`
 *   bytes, `memory.grow` so much more per page that it may get; both are paid before they run.
 */
export const COST_TABLE_VERSION = 1;

export const BULK_BYTES_SHIFT = 3;
export const GROW_PAGE_COST = 16_384;

const FREE = new Set([0x01, 0x02, 0x03, 0x05, 0x0b]);
const COSTS: Readonly<Record<number, number>> = {
  0x10: 4, // call
  0x11: 8, // call_indirect
  0x40: 256, // memory.grow
  0x6d: 4, // i32.div_s
  0x6e: 4, // i32.div_u
  0x6f: 4, // i32.rem_s
  0x70: 4, // i32.rem_u
  0x7f: 8, // i64.div_s
  0x80: 8, // i64.div_u
  0x81: 8, // i64.rem_s
  0x82: 8, // i64.rem_u
  0x91: 4, // f32.sqrt
  0x95: 4, // f32.div
  0x9f: 4, // f64.sqrt
  0xa3: 4, // f64.div
};
const MISC_COSTS: Readonly<Record<number, number>> = {
  8: 32, // memory.init
  10: 32, // memory.copy
  11: 32, // memory.fill
};

/** Cost by opcode. */
export const OPERATOR_COSTS = Uint16Array.from({ length: 256 }, (_, opcode) =>
  FREE.has(opcode) ? 0 : (COSTS[opcode] ?? 1),
);
/** Cost by the number after the prefix 0xfc. */
export const MISC_OPERATOR_COSTS = Uint16Array.from(
  { length: 12 },
  (_, number) => MISC_COSTS[number] ?? 1,
);
