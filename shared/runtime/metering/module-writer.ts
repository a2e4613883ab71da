import { ByteReader } from './byte-reader.ts';
import { CodeWriter } from './code-writer.ts';
import type { MeteredCode } from './meter-code.ts';
import { DEPTH_MAX } from './depth.ts';
import { EXTERNAL, type ModuleShape, SECTION, type Section } from './module-shape.ts';
import { OP, VALUE_TYPE } from './opcodes.ts';

export interface ModulePlan {
  readonly source: Uint8Array;
  readonly shape: ModuleShape;
  /** Null to leave the code as it is. */
  readonly code: MeteredCode | null;
  /** Globals that are exported in addition. */
  readonly added: readonly { readonly name: string; readonly index: number }[];
}

const HEADER = Uint8Array.from([0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00]);
const HAS_MAXIMUM = 1;
const MUTABLE = 1;
const FUNCTION_TYPE = 0x60;
const COUNT_BYTES_MAX = 5;
/** 2 ** 63 - 1, encoded: a module that nobody gave fuel is not metered. */
const FUEL_START = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00];

/** Puts the sections together again; custom ones are left out, as they speak of the old code. */
export function writeModule(plan: ModulePlan): Uint8Array<ArrayBuffer> {
  const { source, shape, code } = plan;
  const out = new CodeWriter(source.length + (code?.payload.length ?? 0) + 1_024);
  out.append(HEADER);
  let hasGlobals = code === null;
  for (const section of shape.sections) {
    // Sections are in the order of their numbers, but for the tables' and data's counts.
    if (!hasGlobals && section.id >= SECTION.global) {
      hasGlobals = true;
      if (section.id !== SECTION.global) writeGlobals(out, plan, null);
    }
    writeSection(out, plan, section);
  }
  return out.finish();
}

function writeSection(out: CodeWriter, plan: ModulePlan, section: Section): void {
  const { source, code } = plan;
  switch (section.id) {
    case SECTION.type:
      writeTypes(out, plan, section);
      break;
    case SECTION.memory:
      writeMemory(out, plan.shape.memory);
      break;
    case SECTION.global:
      writeGlobals(out, plan, section);
      break;
    case SECTION.export:
      writeExports(out, plan, section);
      break;
    case SECTION.code:
      writePayload(out, section.id, code?.payload ?? source.subarray(section.from, section.to));
      break;
    default:
      writePayload(out, section.id, source.subarray(section.from, section.to));
  }
}

function writePayload(out: CodeWriter, id: number, payload: Uint8Array): void {
  begin(out, id, 0);
  out.u32(payload.length);
  out.append(payload);
}

function begin(out: CodeWriter, id: number, bytes: number): void {
  out.reserve(1 + COUNT_BYTES_MAX * 2 + bytes);
  out.byte(id);
}

function writeTypes(out: CodeWriter, { source, code }: ModulePlan, section: Section): void {
  const added = code?.addedTypes ?? [];
  const bytes = added.reduce((sum, results) => sum + results.length + 3 + COUNT_BYTES_MAX, 0);
  const start = beginList(out, source, section, added.length);
  out.reserve(bytes);
  for (const results of added) {
    out.two(FUNCTION_TYPE, 0);
    out.u32(results.length);
    out.append(results);
  }
  out.endLength(start);
}

function writeMemory(out: CodeWriter, { minimum, maximum }: ModuleShape['memory']): void {
  begin(out, SECTION.memory, 2 + COUNT_BYTES_MAX * 2);
  const start = out.beginLength();
  out.two(1, HAS_MAXIMUM);
  out.u32(minimum);
  out.u32(maximum);
  out.endLength(start);
}

function writeGlobals(out: CodeWriter, { source, code }: ModulePlan, section: Section | null) {
  const start = beginList(
    out,
    source,
    section ?? { id: SECTION.global, from: 0, to: 0 },
    code === null ? 0 : 2,
  );
  if (code !== null) {
    out.reserve(FUEL_START.length + 16);
    out.two(VALUE_TYPE.i64, MUTABLE);
    out.byte(OP.i64Const);
    for (const byte of FUEL_START) out.byte(byte);
    out.byte(OP.end);
    out.two(VALUE_TYPE.i32, MUTABLE);
    out.byte(OP.i32Const);
    out.positive(DEPTH_MAX);
    out.byte(OP.end);
  }
  out.endLength(start);
}

function writeExports(out: CodeWriter, { source, added }: ModulePlan, section: Section): void {
  const start = beginList(out, source, section, added.length);
  for (const { name, index } of added) {
    const text = Buffer.from(name);
    out.reserve(text.length + 1 + COUNT_BYTES_MAX * 2);
    out.u32(text.length);
    out.append(text);
    out.indexed(EXTERNAL.global, index);
  }
  out.endLength(start);
}

/** Begins a section with the items it has, and the number of them with `more` added. */
function beginList(
  out: CodeWriter,
  source: Uint8Array,
  { id, from, to }: Section,
  more: number,
): number {
  const reader = new ByteReader(source, from, to);
  const count = reader.isDone ? 0 : reader.u32();
  begin(out, id, to - from + COUNT_BYTES_MAX);
  const start = out.beginLength();
  out.u32(count + more);
  out.append(source.subarray(reader.isDone ? to : reader.at, to));
  return start;
}
