/** Types of values, by their codes in the binary format. */
export type Type = 0x7f | 0x7e | 0x7d | 0x7c;
export const I32 = 0x7f;
export const I64 = 0x7e;
export const F32 = 0x7d;
export const F64 = 0x7c;

export interface Signature {
  readonly parameters: readonly Type[];
  readonly results: readonly Type[];
}

/**
 * One instruction. `immediates` are the indices that follow the opcode; constants have their bits
 * in `bits`; blocks have a type and a body.
 */
export interface Instruction {
  readonly opcode: number;
  /** Number after the prefix 0xfc. */
  readonly misc?: number;
  readonly immediates?: readonly number[];
  readonly bits?: bigint;
  readonly type?: Signature;
  readonly body?: readonly Instruction[];
  readonly otherwise?: readonly Instruction[];
}

export interface FunctionCode {
  readonly type: Signature;
  readonly locals: readonly Type[];
  readonly body: readonly Instruction[];
}

/** A module with one imported function, `env.note`, and all its functions exported by number. */
export interface Program {
  readonly note: Signature;
  readonly functions: readonly FunctionCode[];
  /** Mutable globals, with the bits that they start with. */
  readonly globals: readonly { readonly type: Type; readonly bits: bigint }[];
  /** Function indices in the table, counting the imported one. */
  readonly table: readonly number[];
  readonly pages: number;
  readonly pagesMax: number;
  /** Active at address 0, and again as a passive segment. */
  readonly data: Uint8Array;
}

/** Encodes a program (WebAssembly core specification, section 5). */
export function encodeProgram(program: Program): Uint8Array<ArrayBuffer> {
  const types = new Map<string, { readonly index: number; readonly bytes: number[] }>();
  const typeOf = ({ parameters, results }: Signature): number => {
    const key = `${parameters.join()}:${results.join()}`;
    const bytes = [0x60, ...u(parameters.length), ...parameters, ...u(results.length), ...results];
    const known = types.get(key) ?? { index: types.size, bytes };
    types.set(key, known);
    return known.index;
  };
  const imports = [1, ...text('env'), ...text('note'), 0, ...u(typeOf(program.note))];
  const functions = list(program.functions, ({ type }) => u(typeOf(type)));
  const codes = list(program.functions, ({ locals, body }) => {
    const code = [
      ...list(locals, (type) => [1, type]),
      ...body.flatMap((instruction) => encode(instruction, typeOf)),
      0x0b,
    ];
    return [...u(code.length), ...code];
  });
  const exports = [
    ...u(program.functions.length + program.globals.length + 1),
    ...text('memory'),
    2,
    0,
    ...program.functions.flatMap((_, i) => [...text(`f${i}`), 0, ...u(i + 1)]),
    ...program.globals.flatMap((_, i) => [...text(`g${i}`), 3, ...u(i)]),
  ];
  const table = [1, 0x70, 0, ...u(program.table.length)];
  const elements = [1, 0, 0x41, 0, 0x0b, ...list(program.table, u)];
  const data = [...u(program.data.length), ...program.data];
  return Uint8Array.from([
    ...Buffer.from('0061736d01000000', 'hex'),
    ...section(1, [...u(types.size), ...[...types.values()].flatMap(({ bytes }) => bytes)]),
    ...section(2, imports),
    ...section(3, functions),
    ...section(4, table),
    ...section(5, [1, 1, ...u(program.pages), ...u(program.pagesMax)]),
    ...section(6, list(program.globals, encodeGlobal)),
    ...section(7, exports),
    ...section(9, elements),
    ...section(12, [2]),
    ...section(10, codes),
    ...section(11, [2, 0, 0x41, 0, 0x0b, ...data, 1, ...data]),
  ]);
}

function encodeGlobal({ type, bits }: Program['globals'][number]): number[] {
  return [type, 1, ...constant(CONST_OF[type], bits), 0x0b];
}

const CONST_OF: Readonly<Record<Type, number>> = {
  [I32]: 0x41,
  [I64]: 0x42,
  [F32]: 0x43,
  [F64]: 0x44,
};

const CALL_INDIRECT = 0x11;

function encode(instruction: Instruction, typeOf: (type: Signature) => number): number[] {
  const { opcode, misc, immediates = [], bits, type, body, otherwise } = instruction;
  if (bits !== undefined) return constant(opcode, bits);
  if (opcode === CALL_INDIRECT && type !== undefined) return [opcode, ...u(typeOf(type)), 0];
  if (type === undefined) {
    return [opcode, ...(misc === undefined ? [] : u(misc)), ...immediates.flatMap(u)];
  }
  const inside = (code: readonly Instruction[]) => code.flatMap((one) => encode(one, typeOf));
  return [
    opcode,
    ...blockType(type, typeOf),
    ...inside(body ?? []),
    ...(otherwise === undefined ? [] : [0x05, ...inside(otherwise)]),
    0x0b,
  ];
}

function blockType(type: Signature, typeOf: (type: Signature) => number): number[] {
  const [first, ...more] = type.results;
  if (type.parameters.length === 0 && first === undefined) return [0x40];
  if (type.parameters.length === 0 && first !== undefined && more.length === 0) return [first];
  return s(BigInt(typeOf(type)));
}

function constant(opcode: number, bits: bigint): number[] {
  if (opcode === 0x41) return [opcode, ...s(BigInt.asIntN(32, bits))];
  if (opcode === 0x42) return [opcode, ...s(BigInt.asIntN(64, bits))];
  const bytes = opcode === 0x43 ? 4 : 8;
  return [
    opcode,
    ...Array.from({ length: bytes }, (_, i) => Number((bits >> BigInt(8 * i)) & 255n)),
  ];
}

function section(id: number, payload: readonly number[]): number[] {
  return [id, ...u(payload.length), ...payload];
}

function list<T>(items: readonly T[], encodeItem: (item: T) => readonly number[]): number[] {
  return [...u(items.length), ...items.flatMap(encodeItem)];
}

function text(value: string): number[] {
  const bytes = Buffer.from(value);
  return [...u(bytes.length), ...bytes];
}

/** Unsigned LEB128. */
function u(value: number): number[] {
  const more = value > 0x7f;
  const byte = value & 0x7f;
  return more ? [byte | 0x80, ...u(Math.floor(value / 128))] : [byte];
}

/** Signed LEB128. */
function s(value: bigint): number[] {
  const byte = Number(value & 0x7fn);
  const rest = value >> 7n;
  const isLast = (rest === 0n && (byte & 0x40) === 0) || (rest === -1n && (byte & 0x40) !== 0);
  return isLast ? [byte] : [byte | 0x80, ...s(rest)];
}
