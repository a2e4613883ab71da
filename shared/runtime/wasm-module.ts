import { AppError } from '#shared/domain/app-error.ts';
import { limits } from './limits.ts';

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
  /** The module with its memory clamped to the limit. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

const HEADER = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
const SECTION = { type: 1, import: 2, function: 3, memory: 5, export: 7, start: 8 } as const;
const EXTERNAL = { function: 0, table: 1, memory: 2, global: 3 } as const;
const HAS_MAXIMUM = 1;
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
  const bytes = Buffer.concat([
    HEADER,
    ...sections.map(({ id, payload }) =>
      id === SECTION.memory ? section(id, clampMemory(payload)) : section(id, payload),
    ),
  ]);
  return { imports, exports, bytes: new Uint8Array(bytes) };
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

/** Unsigned LEB128 (section 5.2.2). */
function leb(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  do {
    const more = left > 0x7f;
    bytes.push((left & 0x7f) | (more ? 0x80 : 0));
    left = Math.floor(left / 128);
  } while (left > 0);
  return bytes;
}

class Reader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isDone(): boolean {
    return this.#at >= this.#bytes.length;
  }

  u8(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw invalid('the module is truncated');
    this.#at += 1;
    return byte;
  }

  u32(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  take(length: number): Uint8Array {
    if (this.#at + length > this.#bytes.length) throw invalid('the module is truncated');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(): string {
    return Buffer.from(this.take(this.u32())).toString();
  }

  list<T>(read: () => T): T[] {
    const items: T[] = [];
    for (let left = this.u32(); left > 0; left -= 1) items.push(read());
    return items;
  }
}

function invalid(reason: string): AppError {
  return new AppError('invalid_request', `the application cannot be installed: ${reason}`);
}
