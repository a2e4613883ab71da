import { limits } from '../limits.ts';
import { invalid } from './byte-reader.ts';
import { COST_TABLE_VERSION } from './cost-table.ts';
import { meterCode } from './meter-code.ts';
import { EXTERNAL, type ModuleShape, readShape } from './module-shape.ts';
import { writeModule } from './module-writer.ts';

/** Raised with every change of what the pass writes. */
const INSTRUMENTER_VERSION = 1;
/** Versions of this pass and of its costs: what an instrumented module is kept under. */
export const INSTRUMENTATION = `${INSTRUMENTER_VERSION}.${COST_TABLE_VERSION}`;
export { DEPTH_MAX, STACK_SIZE_MB } from './depth.ts';

export interface InstrumentedModule {
  /** Type of each imported function, by name, with the module it is imported from. */
  readonly imports: readonly {
    readonly from: string;
    readonly name: string;
    /** As text: `iii:l` takes three i32 and gives an i64. */
    readonly signature: string;
  }[];
  /** Type of each exported function. */
  readonly exports: ReadonlyMap<string, string>;
  readonly bytes: Uint8Array<ArrayBuffer>;
  /**
   * Names under which the module's own mutable globals are exported; null when an instance cannot
   * be brought back to its first state from outside.
   */
  readonly globals: readonly string[] | null;
  /** Exported mutable i64: set before a call, read after it; negative when it ran out. */
  readonly fuelGlobal: string | null;
  /** Exported mutable i32, `DEPTH_MAX` before a call; negative when the call went too deep. */
  readonly depthGlobal: string | null;
}

const HEADER = Buffer.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);

/**
 * Turns a module into one whose execution costs exact fuel, the same on every machine. Without
 * `metered` it is only validated and its memory bounded, for logs that were written before there
 * was fuel. Throws AppError `invalid_request` for what V8 or Cairn would refuse.
 */
export function instrument(
  source: Uint8Array,
  { metered }: { readonly metered: boolean } = { metered: true },
): InstrumentedModule {
  const bytes = checkedSource(source);
  const shape = readShape(bytes);
  if (!WebAssembly.validate(bytes)) {
    throw invalid('the module is truncated or malformed: WebAssembly validation failed');
  }
  const exports = exportedFunctions(shape);
  const code = metered ? meterCode(bytes, shape) : null;
  const names = new Set(shape.exports.map(({ name }) => name));
  const isResettable = code !== null && !code.hasDataDrop;
  const globals = isResettable
    ? shape.mutableGlobals.map((index) => ({ name: unusedName(names, `global ${index}`), index }))
    : [];
  const fuel = { name: unusedName(names, 'fuel'), index: shape.globals };
  const depth = { name: unusedName(names, 'depth'), index: shape.globals + 1 };
  const added = code === null ? globals : [...globals, fuel, depth];
  return {
    imports: shape.imports,
    exports,
    bytes: checked(writeModule({ source: bytes, shape, code, added })),
    globals: isResettable ? globals.map(({ name }) => name) : null,
    fuelGlobal: metered ? fuel.name : null,
    depthGlobal: metered ? depth.name : null,
  };
}

function checkedSource(source: Uint8Array): Uint8Array<ArrayBuffer> {
  if (source.length > limits.moduleBytesMax) {
    throw invalid(`the module has ${source.length} bytes, more than ${limits.moduleBytesMax}`);
  }
  if (Buffer.compare(source.subarray(0, HEADER.length), HEADER) !== 0) {
    throw invalid('the file is not a WebAssembly module of version 1');
  }
  return new Uint8Array(source);
}

/** What is added can take a function over one of V8's limits. */
function checked(bytes: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  if (WebAssembly.validate(bytes)) return bytes;
  throw invalid('one of its functions has too much code or too many locals');
}

function exportedFunctions(shape: ModuleShape): Map<string, string> {
  const exports = new Map<string, string>();
  let hasMemory = false;
  for (const { name, kind, index } of shape.exports) {
    if (kind === EXTERNAL.memory && name === 'memory') hasMemory = true;
    if (kind === EXTERNAL.function) {
      exports.set(name, shape.types[shape.functionTypes[index] ?? -1] ?? '?');
    }
  }
  if (!hasMemory) throw invalid('the module does not export its memory as "memory"');
  return exports;
}

/** A name that no export has. */
function unusedName(taken: ReadonlySet<string>, name: string): string {
  let unused = name;
  while (taken.has(unused)) unused += "'";
  return unused;
}
