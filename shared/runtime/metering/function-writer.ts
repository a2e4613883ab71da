import { BULK_BYTES_SHIFT, GROW_PAGE_COST } from './cost-table.ts';
import type { CodeWriter } from './code-writer.ts';
import { EDIT } from './edit-list.ts';
import { limits } from '../limits.ts';
import type { FunctionScan } from './function-scan.ts';
import { EMPTY_BLOCK, OP, VALUE_TYPE } from './opcodes.ts';

/** No edit writes more. */
const EDIT_BYTES_MAX = 64;

export interface Counters {
  readonly fuel: number;
  readonly depth: number;
}

export interface FunctionFrame {
  /** What a call takes off the depth counter; 0 to leave it alone. */
  readonly weight: number;
  /** Type of the block around the body, as it is encoded. */
  readonly blockType: Uint8Array;
}

/** Writes the bodies of functions, with what their scans found put in. */
export class FunctionWriter {
  readonly #out: CodeWriter;
  readonly #source: Uint8Array;
  readonly #counters: Counters;
  #lengthLocal = 0;
  #f32Local = 0;
  #f64Local = 0;

  constructor(out: CodeWriter, source: Uint8Array, counters: Counters) {
    this.#out = out;
    this.#source = source;
    this.#counters = counters;
  }

  /** Writes the body of `scan`, which lies between two offsets of the source. */
  write(from: number, to: number, scan: FunctionScan, { weight, blockType }: FunctionFrame): void {
    const out = this.#out;
    out.reserve(to - from + (scan.edits.count + 3) * EDIT_BYTES_MAX);
    const start = out.beginLength();
    this.#locals(from, scan);
    if (weight > 0) {
      this.#enter(weight);
      out.byte(OP.block);
      out.copy(blockType, 0, blockType.length);
    }
    this.#code(to, scan, weight > 0);
    if (weight > 0) {
      this.#leave(weight);
      out.byte(OP.end);
    }
    out.endLength(start);
  }

  #locals(from: number, scan: FunctionScan): void {
    const out = this.#out;
    const first = scan.parameters + scan.locals;
    this.#lengthLocal = first;
    this.#f32Local = first + 1;
    this.#f64Local = first + 2;
    let groups = 0;
    let at = from;
    for (let shift = 0; ; shift += 7, at += 1) {
      const byte = this.#source[at] as number;
      groups |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    out.u32(groups + 3);
    out.copy(this.#source, at + 1, scan.codeStart);
    for (const type of [VALUE_TYPE.i32, VALUE_TYPE.f32, VALUE_TYPE.f64]) out.two(1, type);
  }

  #code(to: number, { edits, codeStart, costs }: FunctionScan, isWrapped: boolean): void {
    const out = this.#out;
    let done = codeStart;
    for (let i = 0; i < edits.count; i += 1) {
      const at = edits.at[i] as number;
      const argument = edits.argument[i] as number;
      out.copy(this.#source, done, at);
      done = at;
      switch (edits.kind[i]) {
        case EDIT.charge:
          this.#charge(costs[argument] as number);
          break;
        case EDIT.canonical:
          this.#canonical(argument);
          break;
        case EDIT.bulk:
          this.#bulk();
          break;
        case EDIT.grow:
          this.#grow();
          break;
        default:
          if (!isWrapped) break;
          out.indexed(OP.br, argument);
          done = at + 1;
      }
    }
    out.copy(this.#source, done, to);
  }

  #charge(fuel: number): void {
    if (fuel === 0) return;
    const out = this.#out;
    out.indexed(OP.globalGet, this.#counters.fuel);
    out.byte(OP.i64Const);
    out.positive(fuel);
    this.#pay();
  }

  /** Takes the number on the stack off the fuel below it. */
  #pay(): void {
    const out = this.#out;
    out.byte(OP.i64Sub);
    out.indexed(OP.globalSet, this.#counters.fuel);
    out.indexed(OP.globalGet, this.#counters.fuel);
    out.two(OP.i64Const, 0);
    out.byte(OP.i64LtS);
    this.#trapIf();
  }

  #trapIf(): void {
    this.#out.two(OP.if, EMPTY_BLOCK);
    this.#out.two(OP.unreachable, OP.end);
  }

  #bulk(): void {
    const out = this.#out;
    out.indexed(OP.localTee, this.#lengthLocal);
    out.indexed(OP.globalGet, this.#counters.fuel);
    out.indexed(OP.localGet, this.#lengthLocal);
    out.byte(OP.i64ExtendI32U);
    out.two(OP.i64Const, BULK_BYTES_SHIFT);
    out.byte(OP.i64ShrU);
    this.#pay();
  }

  /** Pages that no memory can get are not paid for: the operator will only answer -1. */
  #grow(): void {
    const out = this.#out;
    out.indexed(OP.localTee, this.#lengthLocal);
    out.indexed(OP.globalGet, this.#counters.fuel);
    out.two(OP.i32Const, 0);
    out.indexed(OP.localGet, this.#lengthLocal);
    out.indexed(OP.localGet, this.#lengthLocal);
    out.byte(OP.i32Const);
    out.positive(limits.memoryPagesMax);
    out.byte(OP.i32GtU);
    out.byte(OP.select);
    out.byte(OP.i64ExtendI32U);
    out.byte(OP.i64Const);
    out.positive(GROW_PAGE_COST);
    out.byte(OP.i64Mul);
    this.#pay();
  }

  #canonical(type: number): void {
    const out = this.#out;
    const isSingle = type === VALUE_TYPE.f32;
    const local = isSingle ? this.#f32Local : this.#f64Local;
    out.indexed(OP.localTee, local);
    out.byte(isSingle ? OP.f32Const : OP.f64Const);
    for (const byte of isSingle ? CANONICAL_F32 : CANONICAL_F64) out.byte(byte);
    out.indexed(OP.localGet, local);
    out.indexed(OP.localGet, local);
    out.byte(isSingle ? OP.f32Eq : OP.f64Eq);
    out.byte(OP.select);
  }

  #enter(weight: number): void {
    const out = this.#out;
    out.indexed(OP.globalGet, this.#counters.depth);
    out.byte(OP.i32Const);
    out.positive(weight);
    out.byte(OP.i32Sub);
    out.indexed(OP.globalSet, this.#counters.depth);
    out.indexed(OP.globalGet, this.#counters.depth);
    out.two(OP.i32Const, 0);
    out.byte(OP.i32LtS);
    this.#trapIf();
  }

  #leave(weight: number): void {
    const out = this.#out;
    out.indexed(OP.globalGet, this.#counters.depth);
    out.byte(OP.i32Const);
    out.positive(weight);
    out.byte(OP.i32Add);
    out.indexed(OP.globalSet, this.#counters.depth);
  }
}

/** The NaN of this form is positive, quiet, and has no payload (section 2.2.3). */
const CANONICAL_F32 = [0x00, 0x00, 0xc0, 0x7f];
const CANONICAL_F64 = [0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf8, 0x7f];
