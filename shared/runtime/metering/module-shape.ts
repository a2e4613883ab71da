import { ByteReader, invalid } from './byte-reader.ts';
import { limits } from '../limits.ts';
import { checkLimit, checkLocals, type moduleLimits } from './module-limits.ts';
import { VALUE_TYPE } from './opcodes.ts';

/** A function type, as text: `iii:l` takes three i32 and gives an i64. */
type Signature = string;

/** Where a section's payload lies in the module. */
export interface Section {
  readonly id: number;
  readonly from: number;
  readonly to: number;
}

/** What the pass must know of a module. */
export interface ModuleShape {
  /** All but the custom ones, in order. */
  readonly sections: readonly Section[];
  readonly types: readonly Signature[];
  /** Number of parameters of each type. */
  readonly parameters: Uint16Array;
  readonly results: Uint16Array;
  /** Type of each function, the imported ones first. */
  readonly functionTypes: readonly number[];
  readonly importedFunctions: number;
  readonly imports: readonly {
    readonly from: string;
    readonly name: string;
    readonly signature: Signature;
  }[];
  readonly memory: { readonly minimum: number; readonly maximum: number };
  readonly globals: number;
  /** Indices of the mutable globals. */
  readonly mutableGlobals: readonly number[];
  readonly exports: readonly {
    readonly name: string;
    readonly kind: number;
    readonly index: number;
  }[];
}

export const SECTION = {
  custom: 0,
  type: 1,
  import: 2,
  function: 3,
  table: 4,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  element: 9,
  code: 10,
  data: 11,
  dataCount: 12,
} as const;
export const EXTERNAL = { function: 0, table: 1, memory: 2, global: 3 } as const;
const HEADER_BYTES = 8;
const HAS_MAXIMUM = 1;
const MUTABLE = 1;
const FUNCTION_TYPE = 0x60;
const FUNCREF = 0x70;
const TYPE_CODES: Readonly<Record<string, number>> = {
  i: VALUE_TYPE.i32,
  l: VALUE_TYPE.i64,
  f: VALUE_TYPE.f32,
  d: VALUE_TYPE.f64,
};
const VALUE_TYPES = new Map(Object.entries(TYPE_CODES).map(([letter, code]) => [code, letter]));

/** The code of a value type, given by its letter in a signature. */
export function typeCode(letter: string | undefined): number {
  return TYPE_CODES[letter ?? ''] ?? VALUE_TYPE.i32;
}

/**
 * Reads all sections but the code (WebAssembly core specification, section 5.5), and refuses what
 * is not allowed. Comes before V8's validation, so indices may point nowhere.
 */
export function readShape(bytes: Uint8Array): ModuleShape {
  const sections = readSections(bytes);
  const reader = (id: number) => {
    const section = sections.find((section) => section.id === id);
    return new ByteReader(bytes, section?.from ?? 0, section?.to ?? 0);
  };
  const types = readTypes(reader(SECTION.type));
  const imports = readImports(reader(SECTION.import));
  const declared = readList(reader(SECTION.function), 'functionsMax', (at) => at.u32());
  const functionTypes = [...imports.map(({ type }) => type), ...declared];
  checkTables(reader(SECTION.table));
  checkLocals(reader(SECTION.code));
  const elements = sections.find(({ id }) => id === SECTION.element);
  if (elements !== undefined) {
    checkLimit(elements.to - elements.from, 'elementBytesMax', 'bytes that fill its tables');
  }
  const globals = readList(reader(SECTION.global), 'globalsMax', readGlobal);
  return {
    sections,
    types,
    parameters: Uint16Array.from(types, (type) => type.indexOf(':')),
    results: Uint16Array.from(types, (type) => type.length - type.indexOf(':') - 1),
    functionTypes,
    importedFunctions: imports.length,
    imports: imports.map(({ from, name, type }) => ({
      from,
      name,
      signature: types[type] ?? '?',
    })),
    memory: readMemory(reader(SECTION.memory)),
    globals: globals.length,
    mutableGlobals: globals.flatMap((isMutable, index) => (isMutable ? [index] : [])),
    exports: readList(reader(SECTION.export), 'exportsMax', (at) => ({
      name: at.text(),
      kind: at.u8(),
      index: at.u32(),
    })),
  };
}

function readSections(bytes: Uint8Array): Section[] {
  const sections: Section[] = [];
  const seen = new Set<number>();
  const reader = new ByteReader(bytes, HEADER_BYTES);
  while (!reader.isDone) {
    const id = reader.u8();
    const length = reader.u32();
    const from = reader.at;
    reader.skip(length);
    if (id === SECTION.start) {
      throw invalid('the module has a start function, which would run outside of any transaction');
    }
    if (id > SECTION.dataCount) throw invalid('the module uses exceptions, or something newer');
    if (id === SECTION.custom) continue;
    if (seen.has(id)) throw invalid('the module is truncated or malformed');
    seen.add(id);
    sections.push({ id, from, to: reader.at });
  }
  return sections;
}

function readTypes(reader: ByteReader): Signature[] {
  return readList(reader, 'typesMax', () => {
    if (reader.u8() !== FUNCTION_TYPE) {
      throw invalid('the module uses a type that is not a function type');
    }
    const parameters = readValueTypes(reader, 'parametersMax');
    return `${parameters}:${readValueTypes(reader, 'resultsMax')}`;
  });
}

function readValueTypes(reader: ByteReader, limit: 'parametersMax' | 'resultsMax'): string {
  return readList(reader, limit, readValueType).join('');
}

function readValueType(reader: ByteReader): string {
  const type = VALUE_TYPES.get(reader.u8());
  if (type === undefined) throw invalid('the module uses values that are not numbers');
  return type;
}

function readImports(reader: ByteReader) {
  return readList(reader, 'importsMax', () => {
    const from = reader.text();
    const name = reader.text();
    if (reader.u8() !== EXTERNAL.function) {
      throw invalid(`the module imports "${from}.${name}", which is not a function`);
    }
    return { from, name, type: reader.u32() };
  });
}

function checkTables(reader: ByteReader): void {
  let entries = 0;
  readList(reader, 'tablesMax', () => {
    if (reader.u8() !== FUNCREF) throw invalid('the module has a table of something but functions');
    const flags = reader.u8();
    if (flags > HAS_MAXIMUM) throw invalid('the module has a shared or 64-bit table');
    entries += reader.u32();
    if (flags === HAS_MAXIMUM) reader.u32();
  });
  checkLimit(entries, 'tableEntriesMax', 'entries in its tables');
}

function readMemory(reader: ByteReader): ModuleShape['memory'] {
  const count = reader.isDone ? 0 : reader.u32();
  if (count === 0) throw invalid('the module does not export its memory as "memory"');
  if (count > 1) throw invalid('the module has more than one memory');
  const flags = reader.u8();
  if (flags > HAS_MAXIMUM) throw invalid('the module declares a shared or 64-bit memory');
  const minimum = reader.u32();
  const maximum = flags === HAS_MAXIMUM ? reader.u32() : limits.memoryPagesMax;
  if (minimum > limits.memoryPagesMax) {
    throw invalid(
      `the module declares ${minimum} pages of memory, more than ${limits.memoryPagesMax} (64 MiB)`,
    );
  }
  return { minimum, maximum: Math.min(maximum, limits.memoryPagesMax) };
}

/** True for one that can change. */
function readGlobal(reader: ByteReader): boolean {
  readValueType(reader);
  const isMutable = reader.u8() === MUTABLE;
  skipInitialiser(reader);
  return isMutable;
}

const INITIALISERS: Readonly<Record<number, (reader: ByteReader) => void>> = {
  0x23: (reader) => reader.skipNumber(), // global.get
  0x41: (reader) => reader.skipNumber(), // i32.const
  0x42: (reader) => reader.skipNumber(), // i64.const
  0x43: (reader) => reader.skip(4), // f32.const
  0x44: (reader) => reader.skip(8), // f64.const
  0x6a: () => undefined, // i32.add
  0x6b: () => undefined, // i32.sub
  0x6c: () => undefined, // i32.mul
  0x7c: () => undefined, // i64.add
  0x7d: () => undefined, // i64.sub
  0x7e: () => undefined, // i64.mul
};
const END = 0x0b;

function skipInitialiser(reader: ByteReader): void {
  for (let opcode = reader.u8(); opcode !== END; opcode = reader.u8()) {
    const skip = INITIALISERS[opcode];
    if (skip === undefined) throw invalid('a global starts with a value that is not a number');
    skip(reader);
  }
}

function readList<T>(
  reader: ByteReader,
  limit: keyof typeof moduleLimits,
  read: (reader: ByteReader) => T,
): T[] {
  const items: T[] = [];
  const count = reader.isDone ? 0 : reader.u32();
  checkLimit(count, limit, limit.slice(0, -'Max'.length));
  for (let left = count; left > 0; left -= 1) items.push(read(reader));
  return items;
}
