import { limits } from '../limits.ts';
import { ByteReader } from './byte-reader.ts';
import type { CodeWriter } from './code-writer.ts';
import { BULK_BYTES_SHIFT, GROW_PAGE_COST } from './cost-table.ts';
import { EDIT } from './edit-list.ts';
import type { FunctionScan } from './function-scan.ts';
import { EMPTY_BLOCK, OP, VALUE_TYPE } from './opcodes.ts';

/** No edit writes more, and neither do the things around the code. */
const EDIT_BYTES_MAX = 64;

/** Indices of the two globals that are added. */
export interface Counters {
  /** i64 */
  readonly fuel: number;
  /** i32 */
  readonly depth: number;
}

/** Writes the bodies of functions, with what their scans found put in. */
export class FunctionWriter {
  readonly #out: CodeWriter;
  readonly #source: Uint8Array;
  readonly #counters: Counters;
  /** Local for a value on the stack that is needed more than once, by its type. */
  readonly #scratch = new Map<number, number>();

  constructor(out: CodeWriter, source: Uint8Array, counters: Counters) {
    this.#out = out;
    this.#source = source;
    this.#counters = counters;
  }

  /**
   * Writes the body that was scanned, which lies between two offsets of the source. With a block
   * type, which has to give what the function gives, its calls count: its code goes into a block,
   * so that all ways out lead through its end. Gives the places where its weight is missing.
   */
  write(from: number, to: number, scan: FunctionScan, blockType: Uint8Array | null): number[] {
    const out = this.#out;
    out.reserve(to - from + (scan.edits.count + 4) * EDIT_BYTES_MAX);
    const start = out.beginLength();
    const fuel = scan.fuel.costs[0] as number;
    const places: number[] = [];
    this.#locals(from, scan);
    if (blockType === null) {
      this.#charge(fuel, true);
      this.#code(to, scan, false);
    } else {
      places.push(this.#enter(fuel));
      out.byte(OP.block);
      out.append(blockType);
      this.#code(to, scan, true);
      places.push(this.#addToDepth(OP.i32Add));
      out.byte(OP.end);
    }
    out.endLength(start);
    return places;
  }

  /** Copies the declarations of the locals, and adds what the edits need. */
  #locals(from: number, { edits, locals, codeStart }: FunctionScan): void {
    const out = this.#out;
    const reader = new ByteReader(this.#source, from);
    const groups = reader.u32();
    const added = edits.scratchTypes();
    out.u32(groups + added.length);
    out.copy(this.#source, reader.at, codeStart);
    for (const [i, type] of added.entries()) {
      out.two(1, type);
      this.#scratch.set(type, locals + i);
    }
  }

  /** Pays for the first class and takes the frame's weight, with one check for both. */
  #enter(fuel: number): number {
    const out = this.#out;
    this.#charge(fuel, false);
    const place = this.#addToDepth(OP.i32Sub);
    out.indexed(OP.globalGet, this.#counters.fuel);
    out.indexed(OP.globalGet, this.#counters.depth);
    out.two(OP.i64ExtendI32S, OP.i64Or);
    this.#trapIfNegative();
    return place;
  }

  #code(to: number, { edits, codeStart, fuel }: FunctionScan, isWrapped: boolean): void {
    const out = this.#out;
    let done = codeStart;
    // The first edit is the payment at the start.
    for (let i = 1; i < edits.count; i += 1) {
      const kind = edits.kind[i] as number;
      if (kind === EDIT.none || (kind === EDIT.return && !isWrapped)) continue;
      const at = edits.at[i] as number;
      const argument = edits.argument[i] as number;
      out.copy(this.#source, done, at);
      done = at;
      if (kind === EDIT.charge) {
        this.#charge(fuel.costs[argument] as number, fuel.checks[argument] === 1);
      } else if (kind === EDIT.return) {
        out.indexed(OP.br, argument);
        done = at + 1;
      } else {
        this.#insert(kind, argument);
      }
    }
    out.copy(this.#source, done, to);
  }

  #insert(kind: number, argument: number): void {
    if (kind === EDIT.canonical) this.#canonical(argument);
    else if (kind === EDIT.bulk) this.#bulk();
    else this.#grow();
  }

  #charge(fuel: number, isChecked: boolean): void {
    if (fuel === 0) return;
    const out = this.#out;
    out.indexed(OP.globalGet, this.#counters.fuel);
    out.byte(OP.i64Const);
    out.positive(fuel);
    out.byte(OP.i64Sub);
    out.indexed(OP.globalSet, this.#counters.fuel);
    if (isChecked) this.#check();
  }

  #check(): void {
    this.#out.indexed(OP.globalGet, this.#counters.fuel);
    this.#trapIfNegative();
  }

  #trapIfNegative(): void {
    const out = this.#out;
    out.two(OP.i64Const, 0);
    out.byte(OP.i64LtS);
    out.two(OP.if, EMPTY_BLOCK);
    out.two(OP.unreachable, OP.end);
  }

  /** Pays for the number of bytes on the stack; what is longer than any memory costs more still. */
  #bulk(): void {
    const out = this.#out;
    const length = this.#scratch.get(VALUE_TYPE.i32) as number;
    out.indexed(OP.localTee, length);
    out.indexed(OP.globalGet, this.#counters.fuel);
    out.indexed(OP.localGet, length);
    out.byte(OP.i64ExtendI32U);
    out.two(OP.i64Const, BULK_BYTES_SHIFT);
    out.two(OP.i64ShrU, OP.i64Sub);
    out.indexed(OP.globalSet, this.#counters.fuel);
    this.#check();
  }

  /** Pays for the number of pages on the stack; what no memory can get is only answered with -1. */
  #grow(): void {
    const out = this.#out;
    const pages = this.#scratch.get(VALUE_TYPE.i32) as number;
    out.indexed(OP.localTee, pages);
    out.indexed(OP.globalGet, this.#counters.fuel);
    out.two(OP.i32Const, 0);
    out.indexed(OP.localGet, pages);
    out.indexed(OP.localGet, pages);
    out.byte(OP.i32Const);
    out.positive(limits.memoryPagesMax);
    out.two(OP.i32GtU, OP.select);
    out.two(OP.i64ExtendI32U, OP.i64Const);
    out.positive(GROW_PAGE_COST);
    out.two(OP.i64Mul, OP.i64Sub);
    out.indexed(OP.globalSet, this.#counters.fuel);
    this.#check();
  }

  /** Puts the canonical NaN in the place of any other. */
  #canonical(type: number): void {
    const out = this.#out;
    const isSingle = type === VALUE_TYPE.f32;
    const value = this.#scratch.get(type) as number;
    out.indexed(OP.localTee, value);
    out.byte(isSingle ? OP.f32Const : OP.f64Const);
    for (const byte of isSingle ? CANONICAL_F32 : CANONICAL_F64) out.byte(byte);
    out.indexed(OP.localGet, value);
    out.indexed(OP.localGet, value);
    out.two(isSingle ? OP.f32Eq : OP.f64Eq, OP.select);
  }

  /** Adds or subtracts a weight that is not known yet; gives its place for `patch`. */
  #addToDepth(opcode: number): number {
    const out = this.#out;
    out.indexed(OP.globalGet, this.#counters.depth);
    out.byte(OP.i32Const);
    const place = out.beginLength();
    out.byte(opcode);
    out.indexed(OP.globalSet, this.#counters.depth);
    return place;
  }
}

/** The NaN that is positive and quiet and has no payload (section 2.2.3), little-endian. */
const CANONICAL_F32 = [0x00, 0x00, 0xc0, 0x7f];
const CANONICAL_F64 = [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf8, 0x7f];
