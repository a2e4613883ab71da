import { ByteReader } from './byte-reader.ts';
import { CodeReader, NO_RESULT } from './code-reader.ts';
import { MISC_OPERATOR_COSTS, OPERATOR_COSTS } from './cost-table.ts';
import { EDIT, EditList } from './edit-list.ts';
import { FuelPlan } from './fuel-plan.ts';
import { grown } from './growing.ts';
import { type ModuleShape, typeCode } from './module-shape.ts';
import { FORM, FORMS, MISC, OP } from './opcodes.ts';
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
  /**
   * The most values that are made on every way to some place. The optimising compiler may keep a
   * value that is computed in two places from the first to the second, in a slot of the frame.
   */
  valuesMax = 0;
  readonly #shape: ModuleShape;
  readonly #bytes: Uint8Array;
  readonly #reader: CodeReader;
  /** Open blocks within code that cannot be reached; -1 in code that can. */
  #dead = -1;
  #values = 0;
  #frames = new Int32Array(64 * FRAME.size);
  /** Offset of the innermost frame. */
  #top = 0;

  constructor(shape: ModuleShape, bytes: Uint8Array) {
    this.#shape = shape;
    this.#bytes = bytes;
    this.#reader = new CodeReader(bytes);
  }

  /** True once any function has a `data.drop`. */
  get hasDataDrop(): boolean {
    return this.#reader.hasDataDrop;
  }

  /** Scans the body between two offsets. Throws AppError `invalid_request` for refused operators. */
  scan(from: number, to: number, type: number): void {
    this.#reset(from, to, type);
    const reader = this.#reader;
    while (reader.at < to) {
      const opcode = reader.opcode();
      const form = FORMS[opcode] as number;
      if (form === FORM.control) this.#control(opcode);
      else if (this.#dead >= 0) reader.skipImmediates(opcode, form);
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
    this.#reader.at = reader.at;
    this.codeStart = reader.at;
    this.hasCalls = false;
    this.valuesMax = 0;
    this.#values = 0;
    this.#dead = -1;
    this.fuel.reset(this.codeStart);
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
      this.stack.applyLocal(opcode, this.#reader.u32(), this.#reader.at);
    } else if (form === FORM.bytes4 || form === FORM.bytes8) {
      this.stack.applyConstant(this.#reader.float(form === FORM.bytes4 ? 4 : 8));
    } else {
      if (opcode === OP.memoryGrow) this.edits.add(this.#reader.at - 1, EDIT.grow, 0);
      if (form !== FORM.plain) this.#reader.skipImmediates(opcode, form);
      this.stack.apply(opcode, this.#reader.at);
    }
  }

  #misc(): void {
    const opcodeAt = this.#reader.at - 1;
    const number = this.#reader.misc();
    this.fuel.add(MISC_OPERATOR_COSTS[number] as number);
    if (number <= MISC.truncateMax) {
      this.#addValues(1);
      this.stack.apply(OP.i32TruncF32S, this.#reader.at);
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
    const type = this.#reader.blockType();
    if (this.#dead >= 0) {
      this.#dead += 1;
      return;
    }
    this.fuel.add(OPERATOR_COSTS[opcode] as number);
    if (opcode === OP.if) this.stack.height -= 1;
    const parameters = type >= 0 ? (this.#shape.parameters[type] as number) : 0;
    const results = type >= 0 ? (this.#shape.results[type] as number) : type === NO_RESULT ? 0 : 1;
    this.stack.see(parameters);
    this.#push(opcode, parameters, results);
    if (opcode === OP.block) return;
    const entry = this.fuel.current;
    const inside = this.fuel.start(this.#reader.at);
    this.#frames[this.#top + FRAME.fixup] =
      opcode === OP.loop ? this.fuel.loop(entry, inside) : this.fuel.fork(entry, inside);
  }

  #else(): void {
    if (this.#dead > 0) return;
    const { height, parameters, fixup, sideEnd, kind, values } = FRAME;
    const frames = this.#frames;
    const top = this.#top;
    if (this.#dead < 0) this.#arrive();
    frames[top + sideEnd] = this.#dead < 0 ? this.fuel.current : -1;
    frames[top + kind] = OP.else;
    this.#dead = -1;
    this.stack.height = frames[top + height] as number;
    this.stack.pushSettled(frames[top + parameters] as number);
    this.#values = frames[top + values] as number;
    this.fuel.closeFork(frames[top + fixup] as number, this.fuel.start(this.#reader.at));
  }

  #end(): void {
    if (this.#dead > 0) {
      this.#dead -= 1;
      return;
    }
    const { height, results, outermost, kind, values, valuesBehind } = FRAME;
    const frames = this.#frames;
    const top = this.#top;
    if (this.#dead < 0) this.#arrive();
    const skipped = frames[top + kind] === OP.if ? (frames[top + values] as number) : INFINITE;
    this.#values = Math.min(frames[top + valuesBehind] as number, skipped);
    this.#top -= FRAME.size;
    if (top === 0) return;
    this.#dead = this.#continue(top) ? -1 : 0;
    this.stack.height = frames[top + height] as number;
    this.stack.pushSettled(frames[top + results] as number);
    this.#lower(this.#top + outermost, frames[top + outermost] as number);
  }

  /** The end of a block, or of its first side, is reached with the block's results. */
  #arrive(): void {
    this.stack.see(this.#frames[this.#top + FRAME.results] as number);
    this.#lower(this.#top + FRAME.valuesBehind, this.#values);
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
    const behind = this.fuel.start(this.#reader.at);
    if (this.#dead < 0 || fork < 0) return;
    const isOtherSide = (kind === OP.if && branches === 0) || (kind === OP.block && branches === 1);
    if (isOtherSide) this.fuel.closeFork(fork, behind);
  }

  #call(opcode: number): void {
    const index = this.#reader.u32();
    if (opcode === OP.callIndirect) this.#reader.u32();
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
    const reader = this.#reader;
    const isLive = this.#dead < 0;
    if (isLive) {
      this.fuel.add(OPERATOR_COSTS[opcode] as number);
      if (opcode === OP.brIf || opcode === OP.brTable) this.stack.height -= 1;
    }
    let label = this.#top / FRAME.size;
    if (opcode === OP.brTable) {
      // All labels of a table take the same number of values.
      for (let left = reader.u32(); left > 0; left -= 1) this.#branch(reader.u32(), opcode, isLive);
    }
    if (opcode !== OP.return && opcode !== OP.unreachable) label = reader.u32();
    if (!isLive) return;
    if (opcode === OP.return) this.edits.add(reader.at - 1, EDIT.return, label);
    if (opcode !== OP.unreachable) {
      this.stack.see(this.#arity(label));
      this.#branch(label, opcode, isLive);
    }
    if (opcode !== OP.brIf) this.#dead = 0;
  }

  /** How many values a branch takes along. */
  #arity(label: number): number {
    const target = this.#top - label * FRAME.size;
    const isLoop = this.#frames[target + FRAME.kind] === OP.loop;
    return this.#frames[target + (isLoop ? FRAME.parameters : FRAME.results)] as number;
  }

  #branch(label: number, opcode: number, isLive: boolean): void {
    if (!isLive) return;
    const frames = this.#frames;
    const target = this.#top - label * FRAME.size;
    const kind = frames[target + FRAME.kind] as number;
    const branches = (frames[target + FRAME.branches] as number) + 1;
    frames[target + FRAME.branches] = branches;
    this.#lower(this.#top + FRAME.outermost, target / FRAME.size);
    if (kind === OP.loop) {
      this.fuel.branchBack(frames[target + FRAME.fixup] as number, opcode === OP.br);
    } else {
      this.#lower(target + FRAME.valuesBehind, this.#values);
    }
    if (opcode !== OP.brIf) return;
    const before = this.fuel.current;
    const after = this.fuel.start(this.#reader.at);
    if (kind === OP.block && branches === 1) {
      frames[target + FRAME.fixup] = this.fuel.fork(before, after);
    }
  }

  #lower(place: number, value: number): void {
    if (value < (this.#frames[place] as number)) this.#frames[place] = value;
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
}

const INFINITE = 0x7fff_ffff;

/** 1 for operators whose result is not at hand already: not for constants and locals. */
const MAKES_VALUE = new Uint8Array(256);
MAKES_VALUE.fill(1, OP.globalGet, OP.globalGet + 1);
MAKES_VALUE.fill(1, OP.i32Load, OP.i64Load32U + 1);
MAKES_VALUE.fill(1, OP.memorySize, OP.memoryGrow + 1);
MAKES_VALUE.fill(1, OP.i32Eqz, OP.i64Extend32S + 1);
MAKES_VALUE[OP.select] = 1;
