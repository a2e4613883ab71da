import { Reader } from './wasm-reader.ts';

/** What follows an opcode. */
type Immediate =
  | 'index'
  | 'indices'
  | 'number'
  | 'bytes4'
  | 'bytes8'
  | 'memory'
  | 'block type'
  | 'reference type';

const END = 0x0b;
const PREFIX_MISC = 0xfc;
/** Bit of an alignment that says that a memory index follows it. */
const HAS_MEMORY_INDEX = 0x40;
const EMPTY_BLOCK = 0x40;
const NUMBER_TYPES = new Set([0x7b, 0x7c, 0x7d, 0x7e, 0x7f]);
const REFERENCE_TYPES = new Set([0x6f, 0x70]);

/** Opcodes with immediates, by ranges (WebAssembly core specification, section 5.4). */
const IMMEDIATES: readonly (readonly [
  from: number,
  to: number,
  immediates: readonly Immediate[],
])[] = [
  [0x00, 0x01, []],
  [0x02, 0x04, ['block type']],
  [0x05, 0x05, []],
  [END, END, []],
  [0x0c, 0x0d, ['index']],
  [0x0e, 0x0e, ['indices', 'index']],
  [0x0f, 0x0f, []],
  [0x10, 0x10, ['index']],
  [0x11, 0x11, ['index', 'index']],
  [0x1a, 0x1b, []],
  [0x20, 0x25, ['index']],
  [0x28, 0x3e, ['memory']],
  [0x3f, 0x40, ['index']],
  [0x41, 0x42, ['number']],
  [0x43, 0x43, ['bytes4']],
  [0x44, 0x44, ['bytes8']],
  [0x45, 0xc4, []],
  [0xd0, 0xd0, ['reference type']],
  [0xd1, 0xd1, []],
  [0xd2, 0xd2, ['index']],
];

/** Those of prefix 0xfc that leave tables and segments as they are. */
const MISC: Readonly<Record<number, readonly Immediate[]>> = {
  0: [],
  1: [],
  2: [],
  3: [],
  4: [],
  5: [],
  6: [],
  7: [],
  8: ['index', 'index'],
  10: ['index', 'index'],
  11: ['index'],
  16: ['index'],
};

const BY_OPCODE = new Map(
  IMMEDIATES.flatMap(([from, to, immediates]) =>
    Array.from({ length: to - from + 1 }, (_, i) => [from + i, immediates] as const),
  ),
);

/**
 * True when a function of the code section may change what cannot be restored from outside: the
 * entries of a table, or which segments are dropped. Also true for instructions not known here.
 */
export function leavesTraces(payload: Uint8Array): boolean {
  const reader = new Reader(payload);
  for (let left = reader.u32(); left > 0; left -= 1) {
    const size = reader.u32();
    if (!isHarmless(new Reader(reader.take(size)))) return true;
  }
  return false;
}

/** Skips to behind the `end` of an initialiser; false for an instruction not known here. */
export function skipConstantExpression(reader: Reader): boolean {
  for (;;) {
    const opcode = reader.u8();
    if (opcode === END) return true;
    if (!skipImmediates(reader, opcode)) return false;
  }
}

function isHarmless(body: Reader): boolean {
  for (let groups = body.u32(); groups > 0; groups -= 1) {
    body.u32();
    const type = body.u8();
    const isSimple = type >= 0x7b && type <= 0x7f;
    if (!isSimple) return false;
  }
  while (!body.isDone) {
    if (!skipImmediates(body, body.u8())) return false;
  }
  return true;
}

function skipImmediates(reader: Reader, opcode: number): boolean {
  const immediates = opcode === PREFIX_MISC ? MISC[reader.u32()] : BY_OPCODE.get(opcode);
  if (immediates === undefined) return false;
  return immediates.every((immediate) => skip(reader, immediate));
}

/** False for a form that is not known here, whose length would be a guess. */
function skip(reader: Reader, immediate: Immediate): boolean {
  switch (immediate) {
    case 'memory': {
      const alignment = reader.u32();
      reader.skipNumber();
      return alignment < HAS_MEMORY_INDEX;
    }
    case 'block type':
      return skipBlockType(reader);
    case 'reference type':
      return REFERENCE_TYPES.has(reader.u8());
    case 'indices':
      reader.list(() => reader.skipNumber());
      return true;
    case 'bytes4':
      reader.take(4);
      return true;
    case 'bytes8':
      reader.take(8);
      return true;
    default:
      reader.skipNumber();
      return true;
  }
}

/** A type of one byte, or the index of a function type: a signed number that is not negative. */
function skipBlockType(reader: Reader): boolean {
  let byte = reader.u8();
  if (byte === EMPTY_BLOCK || NUMBER_TYPES.has(byte) || REFERENCE_TYPES.has(byte)) {
    return true;
  }
  while (byte >= 0x80) byte = reader.u8();
  return (byte & 0x40) === 0;
}
