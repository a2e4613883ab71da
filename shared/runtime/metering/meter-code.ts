import { ByteReader, invalid } from './byte-reader.ts';
import { CodeWriter } from './code-writer.ts';
import { FRAME_BYTES_MAX, weighFrame } from './depth.ts';
import { FunctionScan } from './function-scan.ts';
import { FunctionWriter } from './function-writer.ts';
import { type ModuleShape, SECTION, typeCode } from './module-shape.ts';
import { EMPTY_BLOCK } from './opcodes.ts';

export interface MeteredCode {
  /** The code section's payload. */
  readonly payload: Uint8Array;
  /** Result types of the function types that are added, as they are encoded, in order. */
  readonly addedTypes: readonly Uint8Array[];
  readonly hasDataDrop: boolean;
}

/** Instruments all functions. Throws AppError `invalid_request` for code that is not allowed. */
export function meterCode(source: Uint8Array, shape: ModuleShape): MeteredCode {
  const section = shape.sections.find(({ id }) => id === SECTION.code);
  const reader = new ByteReader(source, section?.from ?? 0, section?.to ?? 0);
  const out = new CodeWriter(source.length * 2 + 64);
  const scan = new FunctionScan(shape, source);
  const writer = new FunctionWriter(out, source, {
    fuel: shape.globals,
    depth: shape.globals + 1,
  });
  const blockTypes = new BlockTypes(shape);
  const resultsMax = Math.max(1, ...shape.results);
  const count = reader.isDone ? 0 : reader.u32();
  out.u32(count);
  for (let i = 0; i < count; i += 1) {
    const length = reader.u32();
    const from = reader.at;
    reader.skip(length);
    const type = shape.functionTypes[shape.importedFunctions + i] as number;
    scan.scan(from, reader.at, type);
    const bodyAt = out.at;
    const places = writer.write(from, reader.at, scan, scan.hasCalls ? blockTypes.of(type) : null);
    const weight = weighFrame(scan, out.at - bodyAt, resultsMax);
    if (weight > FRAME_BYTES_MAX) {
      throw invalid('one of its functions could need more stack than there is');
    }
    for (const place of places) out.patch(place, weight);
  }
  return { payload: out.finish(), addedTypes: blockTypes.added, hasDataDrop: scan.hasDataDrop };
}

/** Types of blocks that take nothing and give what a function gives. */
class BlockTypes {
  readonly added: Uint8Array[] = [];
  readonly #shape: ModuleShape;
  readonly #known = new Map<number, Uint8Array>();

  constructor(shape: ModuleShape) {
    this.#shape = shape;
  }

  of(type: number): Uint8Array {
    const known = this.#known.get(type);
    if (known !== undefined) return known;
    const made = this.#make(this.#shape.types[type] as string);
    this.#known.set(type, made);
    return made;
  }

  #make(signature: string): Uint8Array {
    const results = signature.slice(signature.indexOf(':') + 1);
    const codes = Uint8Array.from(results, typeCode);
    if (codes.length < 2) return Uint8Array.of(codes[0] ?? EMPTY_BLOCK);
    this.added.push(codes);
    const index = new CodeWriter(16);
    // An index is a signed number here.
    index.positive(this.#shape.types.length + this.added.length - 1);
    return index.finish();
  }
}
