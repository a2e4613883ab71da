import { ByteReader, invalid } from './byte-reader.ts';
import { MISC_OPERATOR_COSTS, OPERATOR_COSTS } from './cost-table.ts';
import { EDIT, EditList } from './edit-list.ts';
import { FuelPlan } from './fuel-plan.ts';
import { grown } from './growing.ts';
import { type ModuleShape, typeCode } from './module-shape.ts';
import { EMPTY_BLOCK, FORM, FORMS, featureOf, MISC, OP, VALUE_TYPE } from './opcodes.ts';
import { OperandStack } from './operand-stack.ts';

/** One open block, as numbers in an array that serves all functions. The function is the first. */
const FRAME = {
  kind: 0,
  /** Values below those that the block takes. */
  height: 1,
  parameters: 2,
  results: 3,
  /** Class of the code before the block. */
  entry: 4,
  /** Branches to its label. */
  branches: 5,
  /** Index of the outermost frame that a branch from within goes to. */
  outermost: 6,
  /** The fork of an `if`, or of the only branch to its end; the loop of a `loop`; else -1. */
  fixup: 7,
  /** Class at the end of an `if`'s first side; -1 if that cannot be reached. */
  sideEnd: 8,
  /** Values made before the block, on every way to it. */
  values: 9,
  /** The least of the values made on any way to the code behind the block. */
  valuesBehind: 10,
  size: 11,
} as const;

/**
 * Reads the code of one function, which V8 has validated, and finds what has to be put where.
 * One object serves all functions of a module: its arrays grow and are never given back.
 */
export class FunctionScan {
  readonly edits = new EditList();
  readonly fuel = new FuelPlan(this.edits);
  readonly stack = new OperandStack(this.edits);
  /** Offset of the first operator. */
  codeStart = 0;
  parameters = 0;
  results = 0;
  /** Parameters and declared locals. */
  locals = 0;
  /** Calls of functions that are not imported. */
  hasCalls = false;
  hasDataDrop = false;
  /**
   * The most values that are made on every way to some place. The optimising compiler may keep a
   * value that is computed in two places from the first to the second, in a slot of the frame.
   */
  valuesMax = 0;
  readonly #shape: ModuleShape;
  readonly #bytes: Uint8Array;
  #at = 0;
  /** Open blocks within code that cannot be reached; -1 in code that can. */
  #dead = -1;
  #values = 0;
  #frames = new Int32Array(64 * FRAME.size);
  /** Offset of the innermost frame. */
  #top = 0;

  constructor(shape: ModuleShape, bytes: Uint8Array) {
    this.#shape = shape;
    this.#bytes = bytes;
  }

  /** Scans the body between two offsets. Throws AppError `invalid_request` for refused operators. */
  scan(from: number, to: number, type: number): void {
    this.#reset(from, to, type);
    while (this.#at < to) {
      const opcode = this.#bytes[this.#at] as number;
      this.#at += 1;
      const form = FORMS[opcode] as number;
      if (form === FORM.control) this.#control(opcode);
      else if (this.#dead >= 0) this.#skipImmediates(opcode, form);
      else this.#operator(opcode, form);
    }
    this.fuel.resolve();
    this.stack.resolve();
  }

  #reset(from: number, to: number, type: number): void {
    const { stack } = this;
    const reader = new ByteReader(this.#bytes, from, to);
    const signature = this.#shape.types[type] as string;
    this.parameters = this.#shape.parameters[type] as number;
    this.results = this.#shape.results[type] as number;
    this.edits.clear();
    stack.reset();
    for (let i = 0; i < this.parameters; i += 1) {
      stack.addLocals(1, typeCode(signature[i]), true);
    }
    this.locals = this.parameters;
    for (let groups = reader.u32(); groups > 0; groups -= 1) {
      const count = reader.u32();
      this.locals += count;
      stack.addLocals(count, reader.u8(), false);
    }
    this.#at = reader.at;
    this.codeStart = reader.at;
    this.hasCalls = false;
    this.valuesMax = 0;
    this.#values = 0;
    this.#dead = -1;
    this.fuel.reset(this.#at);
    this.#top = -FRAME.size;
    this.#push(OP.block, 0, this.results);
  }

  #operator(opcode: number, form: number): void {
    if (form === FORM.misc) {
      this.#misc();
      return;
    }
    this.fuel.add(OPERATOR_COSTS[opcode] as number);
    if (MAKES_VALUE[opcode] === 1) this.#addValues(1);
    if (form === FORM.local) {
      this.stack.applyLocal(opcode, this.#u32(), this.#at);
    } else if (form === FORM.bytes4 || form === FORM.bytes8) {
      this.#at += form === FORM.bytes4 ? 4 : 8;
      this.stack.applyConstant(this.#mayBeNan(form));
    } else {
      if (opcode === OP.memoryGrow) this.edits.add(this.#at - 1, EDIT.grow, 0);
      if (form !== FORM.plain) this.#skipImmediates(opcode, form);
      this.stack.apply(opcode, this.#at);
    }
  }

  /** True when the exponent of the constant that was just read is that of infinity or NaN. */
  #mayBeNan(form: number): boolean {
    const low = this.#bytes[this.#at - 2] as number;
    const high = (this.#bytes[this.#at - 1] as number) & 0x7f;
    return high === 0x7f && low >= (form === FORM.bytes4 ? 0x80 : 0xf0);
  }

  #misc(): void {
    const opcodeAt = this.#at - 1;
    const number = this.#u32();
    this.#skipMisc(number);
    this.fuel.add(MISC_OPERATOR_COSTS[number] as number);
    if (number <= MISC.truncateMax) {
      this.#addValues(1);
      this.stack.apply(OP.i32TruncF32S, this.#at);
    } else if (number !== MISC.dataDrop) {
      this.edits.add(opcodeAt, EDIT.bulk, 0);
      this.stack.height -= 3;
    }
  }

  #control(opcode: number): void {
    switch (opcode) {
      case OP.block:
      case OP.loop:
      case OP.if:
        this.#open(opcode);
        return;
      case OP.else:
        this.#else();
        return;
      case OP.end:
        this.#end();
        return;
      case OP.call:
      case OP.callIndirect:
        this.#call(opcode);
        return;
      default:
        this.#leave(opcode);
    }
  }

  #open(opcode: number): void {
    const type = this.#blockType();
    if (this.#dead >= 0) {
      this.#dead += 1;
      return;
    }
    this.fuel.add(OPERATOR_COSTS[opcode] as number);
    if (opcode === OP.if) this.stack.height -= 1;
    const isEmpty = type === EMPTY_BLOCK - 0x80;
    const parameters = type >= 0 ? (this.#shape.parameters[type] as number) : 0;
    const results = type >= 0 ? (this.#shape.results[type] as number) : isEmpty ? 0 : 1;
    this.stack.see(parameters);
    this.#push(opcode, parameters, results);
    if (opcode === OP.block) return;
    const entry = this.fuel.current;
    const inside = this.fuel.start(this.#at);
    this.#frames[this.#top + FRAME.fixup] =
      opcode === OP.loop ? this.fuel.loop(entry, inside) : this.fuel.fork(entry, inside);
  }

  #else(): void {
    if (this.#dead > 0) return;
    const { height, parameters, fixup, sideEnd, kind, values } = FRAME;
    const frames = this.#frames;
    const top = this.#top;
    if (this.#dead < 0) this.#arrive(top);
    frames[top + sideEnd] = this.#dead < 0 ? this.fuel.current : -1;
    frames[top + kind] = OP.else;
    this.#dead = -1;
    this.stack.height = frames[top + height] as number;
    this.stack.pushSettled(frames[top + parameters] as number);
    this.#values = frames[top + values] as number;
    this.fuel.closeFork(frames[top + fixup] as number, this.fuel.start(this.#at));
  }

  #end(): void {
    if (this.#dead > 0) {
      this.#dead -= 1;
      return;
    }
    const { height, results, outermost, kind, values, valuesBehind } = FRAME;
    const frames = this.#frames;
    const top = this.#top;
    if (this.#dead < 0) this.#arrive(top);
    const skipped = frames[top + kind] === OP.if ? (frames[top + values] as number) : INFINITE;
    this.#values = Math.min(frames[top + valuesBehind] as number, skipped);
    this.#top -= FRAME.size;
    if (top === 0) return;
    this.#dead = this.#continue(top) ? -1 : 0;
    this.stack.height = frames[top + height] as number;
    this.stack.pushSettled(frames[top + results] as number);
    const parent = this.#top + outermost;
    frames[parent] = Math.min(frames[parent] as number, frames[top + outermost] as number);
  }

  /** The code behind a block is reached, with the block's results. */
  #arrive(frame: number): void {
    const frames = this.#frames;
    const behind = frame + FRAME.valuesBehind;
    this.stack.see(frames[frame + FRAME.results] as number);
    frames[behind] = Math.min(frames[behind] as number, this.#values);
  }

  /** Chooses the class of the code behind a block; false if that cannot be reached. */
  #continue(top: number): boolean {
    const frames = this.#frames;
    const kind = frames[top + FRAME.kind] as number;
    const isLive = this.#dead < 0;
    const branches = kind === OP.loop ? 0 : (frames[top + FRAME.branches] as number);
    const sideEnd = frames[top + FRAME.sideEnd] as number;
    const hasOtherSide = kind === OP.if || sideEnd >= 0;
    if (!isLive && branches === 0 && !hasOtherSide) return false;
    const isEscaped = (frames[top + FRAME.outermost] as number) < top / FRAME.size;
    if (!isEscaped) {
      // Who enters the block comes out here, or the function never returns.
      this.fuel.current = frames[top + FRAME.entry] as number;
    } else if (branches > 0 || kind === OP.if || (isLive && hasOtherSide)) {
      this.#startBehind(top, branches);
    } else if (!isLive) {
      this.fuel.current = sideEnd;
    }
    return true;
  }

  /** Starts a class behind a block; it may be what a fork in the block goes on to. */
  #startBehind(top: number, branches: number): void {
    const kind = this.#frames[top + FRAME.kind] as number;
    const fork = this.#frames[top + FRAME.fixup] as number;
    const behind = this.fuel.start(this.#at);
    if (this.#dead < 0 || fork < 0) return;
    const isOtherSide = (kind === OP.if && branches === 0) || (kind === OP.block && branches === 1);
    if (isOtherSide) this.fuel.closeFork(fork, behind);
  }

  #call(opcode: number): void {
    const index = this.#u32();
    if (opcode === OP.callIndirect) this.#u32();
    if (this.#dead >= 0) return;
    this.fuel.add(OPERATOR_COSTS[opcode] as number);
    const { functionTypes, importedFunctions, parameters, results } = this.#shape;
    const type = opcode === OP.call ? (functionTypes[index] as number) : index;
    if (opcode === OP.callIndirect || index >= importedFunctions) this.hasCalls = true;
    if (opcode === OP.callIndirect) this.stack.height -= 1;
    this.stack.see(parameters[type] as number);
    this.stack.height -= parameters[type] as number;
    this.stack.pushSettled(results[type] as number);
    this.#addValues(results[type] as number);
  }

  /** `br`, `br_if`, `br_table`, `return` and `unreachable`. */
  #leave(opcode: number): void {
    const isLive = this.#dead < 0;
    if (isLive) {
      this.fuel.add(OPERATOR_COSTS[opcode] as number);
      if (opcode === OP.brIf || opcode === OP.brTable) this.stack.height -= 1;
    }
    switch (opcode) {
      case OP.br:
      case OP.brIf:
        this.#branch(this.#u32(), opcode, isLive);
        break;
      case OP.brTable:
        for (let left = this.#u32() + 1; left > 0; left -= 1) {
          this.#branch(this.#u32(), opcode, isLive);
        }
        break;
      case OP.return:
        if (isLive) this.edits.add(this.#at - 1, EDIT.return, this.#top / FRAME.size);
        this.#branch(this.#top / FRAME.size, opcode, isLive);
        break;
      default:
    }
    if (isLive && opcode !== OP.brIf) this.#dead = 0;
  }

  #branch(label: number, opcode: number, isLive: boolean): void {
    if (!isLive) return;
    const frames = this.#frames;
    const target = this.#top - label * FRAME.size;
    const kind = frames[target + FRAME.kind] as number;
    const isLoop = kind === OP.loop;
    if (isLoop) this.stack.see(frames[target + FRAME.parameters] as number);
    else this.#arrive(target);
    const branches = (frames[target + FRAME.branches] as number) + 1;
    frames[target + FRAME.branches] = branches;
    const from = this.#top + FRAME.outermost;
    frames[from] = Math.min(frames[from] as number, target / FRAME.size);
    if (isLoop) this.fuel.branchBack(frames[target + FRAME.fixup] as number, opcode === OP.br);
    if (opcode !== OP.brIf) return;
    const before = this.fuel.current;
    const after = this.fuel.start(this.#at);
    if (kind === OP.block && branches === 1) {
      frames[target + FRAME.fixup] = this.fuel.fork(before, after);
    }
  }

  #push(kind: number, parameters: number, results: number): void {
    this.#top += FRAME.size;
    const top = this.#top;
    if (top + FRAME.size > this.#frames.length) this.#frames = grown(this.#frames);
    const frames = this.#frames;
    frames[top + FRAME.kind] = kind;
    frames[top + FRAME.height] = this.stack.height - parameters;
    frames[top + FRAME.parameters] = parameters;
    frames[top + FRAME.results] = results;
    frames[top + FRAME.entry] = this.fuel.current;
    frames[top + FRAME.branches] = 0;
    frames[top + FRAME.outermost] = top / FRAME.size;
    frames[top + FRAME.fixup] = -1;
    frames[top + FRAME.sideEnd] = -1;
    frames[top + FRAME.values] = this.#values;
    frames[top + FRAME.valuesBehind] = INFINITE;
  }

  #addValues(count: number): void {
    this.#values += count;
    if (this.#values > this.valuesMax) this.valuesMax = this.#values;
  }

  #skipImmediates(opcode: number, form: number): void {
    switch (form) {
      case FORM.plain:
        return;
      case FORM.local:
      case FORM.index:
      case FORM.number:
        this.#skipNumber();
        return;
      case FORM.address:
        this.#skipNumber();
        this.#skipNumber();
        return;
      case FORM.bytes4:
        this.#at += 4;
        return;
      case FORM.bytes8:
        this.#at += 8;
        return;
      case FORM.misc:
        this.#skipMisc(this.#u32());
        return;
      default:
        throw refused(featureOf(opcode));
    }
  }

  #skipMisc(number: number): void {
    if (number <= MISC.truncateMax) return;
    if (number > MISC.memoryFill) throw refused('reference types');
    if (number === MISC.dataDrop) this.hasDataDrop = true;
    this.#skipNumber();
    if (number === MISC.memoryInit || number === MISC.memoryCopy) this.#skipNumber();
  }

  /** A type of one byte as a negative number, or the index of a function type. */
  #blockType(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.#at] as number;
      this.#at += 1;
      value |= (byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      const isNegative = (byte & 0x40) !== 0;
      const isNumber = value === EMPTY_BLOCK || value >= (VALUE_TYPE.f64 & 0x7f);
      if (isNegative && (shift > 0 || !isNumber)) throw refused('reference types');
      return isNegative ? value - 0x80 : value;
    }
  }

  #u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.#at] as number;
      this.#at += 1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  #skipNumber(): void {
    while ((this.#bytes[this.#at] as number) >= 0x80) this.#at += 1;
    this.#at += 1;
  }
}

const INFINITE = 0x7fff_ffff;

/** 1 for operators whose result is not at hand already: not for constants and locals. */
const MAKES_VALUE = new Uint8Array(256);
MAKES_VALUE.fill(1, OP.globalGet, OP.globalGet + 1);
MAKES_VALUE.fill(1, OP.i32Load, OP.i64Load32U + 1);
MAKES_VALUE.fill(1, OP.memorySize, OP.memoryGrow + 1);
MAKES_VALUE.fill(1, OP.i32Eqz, OP.i64Extend32S + 1);
MAKES_VALUE[OP.select] = 1;

function refused(feature: string) {
  return invalid(`its code uses ${feature}, which applications may not`);
}
