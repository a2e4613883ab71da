/** Opcodes by name (WebAssembly core specification, section 5.4). */
export const OP = {
  unreachable: 0x00,
  nop: 0x01,
  block: 0x02,
  loop: 0x03,
  if: 0x04,
  else: 0x05,
  end: 0x0b,
  br: 0x0c,
  brIf: 0x0d,
  brTable: 0x0e,
  return: 0x0f,
  call: 0x10,
  callIndirect: 0x11,
  drop: 0x1a,
  select: 0x1b,
  localGet: 0x20,
  localSet: 0x21,
  localTee: 0x22,
  globalGet: 0x23,
  globalSet: 0x24,
  i32Load: 0x28,
  i64Load32U: 0x35,
  memorySize: 0x3f,
  memoryGrow: 0x40,
  i32Const: 0x41,
  i64Const: 0x42,
  f32Const: 0x43,
  f64Const: 0x44,
  i32Eqz: 0x45,
  i32GtU: 0x4b,
  i64LtS: 0x53,
  f32Eq: 0x5b,
  f64Eq: 0x61,
  i32LtS: 0x48,
  i32Add: 0x6a,
  i32Sub: 0x6b,
  i64Sub: 0x7d,
  i64Mul: 0x7e,
  i64ShrU: 0x88,
  i64Or: 0x84,
  i64ExtendI32S: 0xac,
  i64ExtendI32U: 0xad,
  i32TruncF32S: 0xa8,
  i64Extend32S: 0xc4,
  misc: 0xfc,
} as const;

/** Operators after the prefix 0xfc. */
export const MISC = {
  truncateMax: 7,
  memoryInit: 8,
  dataDrop: 9,
  memoryCopy: 10,
  memoryFill: 11,
} as const;

/** What follows an opcode, and who reads it. */
export const FORM = {
  refused: 0,
  plain: 1,
  index: 2,
  number: 3,
  bytes4: 4,
  bytes8: 5,
  address: 6,
  control: 7,
  misc: 8,
  local: 9,
} as const;

export const VALUE_TYPE = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c } as const;
export const EMPTY_BLOCK = 0x40;

/** From, to, form, values taken, values given. */
type Range = readonly [from: number, to: number, form: number, pops: number, pushes: number];

const { plain, index, number, bytes4, bytes8, address, control, misc, local } = FORM;
const RANGES: readonly Range[] = [
  [0x00, 0x00, control, 0, 0],
  [0x01, 0x01, plain, 0, 0],
  [0x02, 0x05, control, 0, 0],
  [0x0b, 0x11, control, 0, 0],
  [0x1a, 0x1a, plain, 1, 0],
  [0x1b, 0x1b, plain, 3, 1],
  [0x20, 0x22, local, 0, 0],
  [0x23, 0x23, index, 0, 1],
  [0x24, 0x24, index, 1, 0],
  [0x28, 0x35, address, 1, 1],
  [0x36, 0x3e, address, 2, 0],
  [0x3f, 0x3f, index, 0, 1],
  [0x40, 0x40, index, 1, 1],
  [0x41, 0x42, number, 0, 1],
  [0x43, 0x43, bytes4, 0, 1],
  [0x44, 0x44, bytes8, 0, 1],
  [0x45, 0x45, plain, 1, 1],
  [0x46, 0x4f, plain, 2, 1],
  [0x50, 0x50, plain, 1, 1],
  [0x51, 0x66, plain, 2, 1],
  [0x67, 0x69, plain, 1, 1],
  [0x6a, 0x78, plain, 2, 1],
  [0x79, 0x7b, plain, 1, 1],
  [0x7c, 0x8a, plain, 2, 1],
  [0x8b, 0x91, plain, 1, 1],
  [0x92, 0x98, plain, 2, 1],
  [0x99, 0x9f, plain, 1, 1],
  [0xa0, 0xa6, plain, 2, 1],
  [0xa7, 0xc4, plain, 1, 1],
  [0xfc, 0xfc, misc, 0, 0],
];

/** Form of each opcode; `refused` for those that no guest may use. */
export const FORMS = column((range) => range[2]);
export const POPS = column((range) => range[3]);
export const PUSHES = column((range) => range[4]);

const FEATURES: readonly (readonly [from: number, to: number, feature: string])[] = [
  [0x06, 0x0a, 'exceptions'],
  [0x12, 0x13, 'tail calls'],
  [0x14, 0x14, 'reference types'],
  [0x15, 0x15, 'tail calls'],
  [0x18, 0x19, 'exceptions'],
  [0x1c, 0x1c, 'reference types'],
  [0x1f, 0x1f, 'exceptions'],
  [0x25, 0x26, 'reference types'],
  [0xd0, 0xd6, 'reference types'],
  [0xfb, 0xfb, 'garbage collection'],
  [0xfd, 0xfd, 'SIMD'],
  [0xfe, 0xfe, 'threads'],
];

/** Why an operator is refused. */
export function featureOf(opcode: number): string {
  const range = FEATURES.find(([from, to]) => opcode >= from && opcode <= to);
  return range?.[2] ?? `operator 0x${opcode.toString(16)}`;
}

function column(pick: (range: Range) => number): Uint8Array {
  const bytes = new Uint8Array(256);
  for (const range of RANGES) bytes.fill(pick(range), range[0], range[1] + 1);
  return bytes;
}
