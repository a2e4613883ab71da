import { limits } from './limits.ts';
import { leavesTraces, skipConstantExpression } from './wasm-code.ts';
import { invalid, leb, Reader } from './wasm-reader.ts';

/** A function type, as text: `iii:l` takes three i32 and gives an i64. */
type Signature = string;

export interface ParsedModule {
  /** Type of each imported function, by name, with the module it is imported from. */
  readonly imports: readonly {
    readonly from: string;
    readonly name: string;
    readonly signature: Signature;
  }[];
  /** Type of each exported function. */
  readonly exports: ReadonlyMap<string, Signature>;
  /** The module with its memory clamped to the limit, and `globals` exported. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * Names under which all mutable globals are exported; null when an instance cannot be brought
   * back to its first state from outside.
   */
  readonly globals: readonly string[] | null;
}

const HEADER = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
const SECTION = {
  type: 1,
  import: 2,
  function: 3,
  memory: 5,
  global: 6,
  export: 7,
  start: 8,
  code: 10,
} as const;
const EXTERNAL = { function: 0, table: 1, memory: 2, global: 3 } as const;
const HAS_MAXIMUM = 1;
const MUTABLE = 1;
const VALUE_TYPES: Readonly<Record<number, string>> = {
  0x7f: 'i',
  0x7e: 'l',
  0x7d: 'f',
  0x7c: 'd',
  0x7b: 'v',
  0x70: 'r',
  0x6f: 'x',
};

/**
 * Reads what the host must know of a module (WebAssembly core specification, section 5.5) and
 * clamps its memory. Throws AppError `invalid_request` for what V8 or Cairn would refuse.
 */
export function parseModule(source: Uint8Array): ParsedModule {
  if (source.length > limits.moduleBytesMax) {
    throw invalid(`the module has ${source.length} bytes, more than ${limits.moduleBytesMax}`);
  }
  if (Buffer.compare(source.subarray(0, 8), HEADER) !== 0) {
    throw invalid('the file is not a WebAssembly module of version 1');
  }
  const copy = new Uint8Array(source);
  if (!WebAssembly.validate(copy)) {
    throw invalid('the module is truncated or malformed: WebAssembly validation failed');
  }
  const sections = [...readSections(copy)];
  const payloadOf = (id: number) => sections.find((section) => section.id === id)?.payload;
  if (payloadOf(SECTION.start) !== undefined) {
    throw invalid('the module has a start function, which would run outside of any transaction');
  }
  const types = readTypes(payloadOf(SECTION.type));
  const { imports, signatures } = readImports(payloadOf(SECTION.import), types);
  const declared = readFunctions(payloadOf(SECTION.function), types);
  const exports = readExports(payloadOf(SECTION.export), [...signatures, ...declared]);
  const memory = payloadOf(SECTION.memory);
  if (memory === undefined) throw invalid('the module has no memory of its own');
  const code = payloadOf(SECTION.code);
  const mutable = readMutableGlobals(payloadOf(SECTION.global));
  const isResettable =
    mutable !== null &&
    new Reader(memory).u32() === 1 &&
    (code === undefined || !leavesTraces(code));
  const globals = isResettable
    ? new Map(mutable.map((index) => [unusedName(exports, `global ${index}`), index]))
    : null;
  const bytes = Buffer.concat([
    HEADER,
    ...sections.map(({ id, payload }) => {
      if (id === SECTION.memory) return section(id, clampMemory(payload));
      if (id === SECTION.export && globals !== null) {
        return section(id, exportGlobals(payload, globals));
      }
      return section(id, payload);
    }),
  ]);
  return {
    imports,
    exports,
    bytes: new Uint8Array(bytes),
    globals: globals === null ? null : [...globals.keys()],
  };
}

function* readSections(bytes: Uint8Array): Generator<{ id: number; payload: Uint8Array }> {
  const reader = new Reader(bytes, HEADER.length);
  while (!reader.isDone) {
    const id = reader.u8();
    yield { id, payload: reader.take(reader.u32()) };
  }
}

function readTypes(payload: Uint8Array | undefined): Signature[] {
  if (payload === undefined) return [];
  const reader = new Reader(payload);
  return reader.list(() => {
    if (reader.u8() !== 0x60) throw invalid('the module uses a type that is not a function type');
    const valueTypes = () => reader.list(() => VALUE_TYPES[reader.u8()] ?? '?').join('');
    const parameters = valueTypes();
    return `${parameters}:${valueTypes()}`;
  });
}

function readImports(payload: Uint8Array | undefined, types: readonly Signature[]) {
  const imports: { from: string; name: string; signature: Signature }[] = [];
  if (payload === undefined) return { imports, signatures: [] };
  const reader = new Reader(payload);
  reader.list(() => {
    const from = reader.text();
    const name = reader.text();
    if (reader.u8() !== EXTERNAL.function) {
      throw invalid(`the module imports "${from}.${name}", which is not a function`);
    }
    imports.push({ from, name, signature: types[reader.u32()] ?? '?' });
  });
  return { imports, signatures: imports.map(({ signature }) => signature) };
}

function readFunctions(payload: Uint8Array | undefined, types: readonly Signature[]): Signature[] {
  if (payload === undefined) return [];
  const reader = new Reader(payload);
  return reader.list(() => types[reader.u32()] ?? '?');
}

function readExports(payload: Uint8Array | undefined, functions: readonly Signature[]) {
  const exports = new Map<string, Signature>();
  let hasMemory = false;
  if (payload !== undefined) {
    const reader = new Reader(payload);
    reader.list(() => {
      const name = reader.text();
      const kind = reader.u8();
      const index = reader.u32();
      if (kind === EXTERNAL.function) exports.set(name, functions[index] ?? '?');
      if (kind === EXTERNAL.memory && name === 'memory') hasMemory = true;
    });
  }
  if (!hasMemory) throw invalid('the module does not export its memory as "memory"');
  return exports;
}

/** Indices of the mutable globals; null when one has a type that JavaScript cannot restore. */
function readMutableGlobals(payload: Uint8Array | undefined): number[] | null {
  if (payload === undefined) return [];
  const reader = new Reader(payload);
  const mutable: number[] = [];
  for (let left = reader.u32(), index = 0; left > 0; left -= 1, index += 1) {
    const type = VALUE_TYPES[reader.u8()];
    const isMutable = reader.u8() === MUTABLE;
    if (type === undefined || !skipConstantExpression(reader)) return null;
    if (isMutable && !/[ilfd]/.test(type)) return null;
    if (isMutable) mutable.push(index);
  }
  return mutable;
}

function exportGlobals(payload: Uint8Array, globals: ReadonlyMap<string, number>): Uint8Array {
  const reader = new Reader(payload);
  const count = reader.u32();
  const added = [...globals].map(([name, index]) => {
    const text = Buffer.from(name);
    return Uint8Array.from([...leb(text.length), ...text, EXTERNAL.global, ...leb(index)]);
  });
  const counted = Uint8Array.from(leb(count + added.length));
  return Buffer.concat([counted, payload.subarray(reader.at), ...added]);
}

/** A name that no export has. */
function unusedName(exports: ReadonlyMap<string, unknown>, name: string): string {
  return exports.has(name) ? unusedName(exports, `${name}'`) : name;
}

/** Gives every memory a maximum of at most the limit, so that `memory.grow` fails there. */
function clampMemory(payload: Uint8Array): Uint8Array {
  const reader = new Reader(payload);
  const memories = reader.list(() => {
    const flags = reader.u8();
    if (flags > HAS_MAXIMUM) throw invalid('the module declares a shared or 64-bit memory');
    const minimum = reader.u32();
    const maximum = flags === HAS_MAXIMUM ? reader.u32() : limits.memoryPagesMax;
    if (minimum > limits.memoryPagesMax) {
      throw invalid(
        `the module declares ${minimum} pages of memory, more than ${limits.memoryPagesMax} (64 MiB)`,
      );
    }
    const clamped = Math.min(maximum, limits.memoryPagesMax);
    return [HAS_MAXIMUM, ...leb(minimum), ...leb(clamped)];
  });
  return Uint8Array.from([...leb(memories.length), ...memories.flat()]);
}

function section(id: number, payload: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.from([id, ...leb(payload.length)]), payload]);
}
