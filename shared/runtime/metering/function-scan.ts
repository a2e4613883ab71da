import { ByteReader, invalid } from './byte-reader.ts';
import { MISC_OPERATOR_COSTS, OPERATOR_COSTS } from './cost-table.ts';
import { EDIT, EditList } from './edit-list.ts';
import type { ModuleShape } from './module-shape.ts';
import {
  EMPTY_BLOCK,
  FORM,
  FORMS,
  featureOf,
  MISC,
  OP,
  POPS,
  PUSHES,
  VALUE_TYPE,
} from './opcodes.ts';

/** One open block: four numbers in an array that is used for all functions. */
const FRAME = { kind: 0, height: 1, parameters: 2, results: 3, size: 4 } as const;

/**
 * Follows the code of one function, which V8 has validated, and notes what has to be put where.
 * One object serves all functions of a module: its arrays grow and are never given back.
 */
export class FunctionScan {
  readonly edits = new EditList();
  /** Fuel of each stretch of code that runs as a whole, in order. */
  costs = new Float64Array(256);
  codeStart = 0;
  parameters = 0;
  locals = 0;
  heightMax = 0;
  hasCalls = false;
  hasDataDrop = false;
  readonly #shape: ModuleShape;
  readonly #bytes: Uint8Array;
  #at = 0;
  #height = 0;
  #classes = 0;
  /** Open blocks of the code that cannot be reached; -1 in code that can. */
  #dead = -1;
  #frames = new Int32Array(64 * FRAME.size);
  #depth = 0;

  constructor(shape: ModuleShape, bytes: Uint8Array) {
    this.#shape = shape;
    this.#bytes = bytes;
  }

  /** Scans the body between two offsets. */
  scan(from: number, to: number, type: number): void {
    this.#reset(from, to, type);
    while (this.#at < to) {
      const opcode = this.#bytes[this.#at] as number;
      this.#at += 1;
      const form = FORMS[opcode] as number;
      if (form === FORM.control) {
        this.#control(opcode);
      } else if (this.#dead >= 0) {
        this.#skipImmediates(opcode, form);
      } else if (form === FORM.misc) {
        this.#misc();
      } else {
        this.#simple(opcode, form);
      }
    }
  }

  #reset(from: number, to: number, type: number): void {
    const reader = new ByteReader(this.#bytes, from, to);
    this.parameters = this.#shape.parameters[type] as number;
    this.locals = 0;
    for (let groups = reader.u32(); groups > 0; groups -= 1) {
      this.locals += reader.u32();
      checkLocalType(reader.u8());
    }
    this.#at = reader.at;
    this.codeStart = reader.at;
    this.edits.clear();
    this.heightMax = 0;
    this.hasCalls = false;
    this.#height = 0;
    this.#dead = -1;
    this.#depth = 0;
    this.#classes = 0;
    this.#push(OP.block, 0, this.#shape.results[type] as number);
    this.#startClass();
  }

  #simple(opcode: number, form: number): void {
    this.#cost(OPERATOR_COSTS[opcode] as number);
    if (opcode === OP.memoryGrow) this.edits.add(this.#at - 1, EDIT.grow, 0);
    this.#skipImmediates(opcode, form);
    this.#height += (PUSHES[opcode] as number) - (POPS[opcode] as number);
    if (this.#height > this.heightMax) this.heightMax = this.#height;
    const type = NAN_TYPE[opcode] as number;
    if (type !== 0) this.edits.add(this.#at, EDIT.canonical, type);
  }

  #misc(): void {
    const opcodeAt = this.#at - 1;
    const number = this.#u32();
    this.#skipMisc(number);
    this.#cost(MISC_OPERATOR_COSTS[number] as number);
    if (number === MISC.memoryInit || number === MISC.memoryCopy || number === MISC.memoryFill) {
      this.edits.add(opcodeAt, EDIT.bulk, 0);
      this.#height -= 3;
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
        this.#branch(opcode);
    }
  }

  #open(opcode: number): void {
    const type = this.#blockType();
    if (this.#dead >= 0) {
      this.#dead += 1;
      return;
    }
    this.#cost(OPERATOR_COSTS[opcode] as number);
    if (opcode === OP.if) this.#height -= 1;
    const isEmpty = type === EMPTY_BLOCK - 0x80;
    const parameters = type >= 0 ? (this.#shape.parameters[type] as number) : 0;
    const results = type >= 0 ? (this.#shape.results[type] as number) : isEmpty ? 0 : 1;
    this.#push(opcode, parameters, results);
    if (opcode !== OP.block) this.#startClass();
  }

  #else(): void {
    if (this.#dead > 0) return;
    this.#dead = -1;
    const frame = (this.#depth - 1) * FRAME.size;
    this.#height =
      (this.#frames[frame + FRAME.height] as number) +
      (this.#frames[frame + FRAME.parameters] as number);
    this.#startClass();
  }

  #end(): void {
    if (this.#dead > 0) {
      this.#dead -= 1;
      return;
    }
    this.#dead = -1;
    this.#depth -= 1;
    const frame = this.#depth * FRAME.size;
    this.#height =
      (this.#frames[frame + FRAME.height] as number) +
      (this.#frames[frame + FRAME.results] as number);
    if (this.#height > this.heightMax) this.heightMax = this.#height;
    if (this.#depth > 0) this.#startClass();
  }

  #call(opcode: number): void {
    const index = this.#u32();
    if (opcode === OP.callIndirect) this.#u32();
    if (this.#dead >= 0) return;
    this.#cost(OPERATOR_COSTS[opcode] as number);
    const { functionTypes, importedFunctions } = this.#shape;
    const type = opcode === OP.call ? (functionTypes[index] as number) : index;
    if (opcode === OP.callIndirect || index >= importedFunctions) this.hasCalls = true;
    if (opcode === OP.callIndirect) this.#height -= 1;
    this.#height +=
      (this.#shape.results[type] as number) - (this.#shape.parameters[type] as number);
    if (this.#height > this.heightMax) this.heightMax = this.#height;
  }

  #branch(opcode: number): void {
    const opcodeAt = this.#at - 1;
    if (opcode === OP.br || opcode === OP.brIf) this.#u32();
    if (opcode === OP.brTable) for (let left = this.#u32() + 1; left > 0; left -= 1) this.#u32();
    if (this.#dead >= 0) return;
    this.#cost(OPERATOR_COSTS[opcode] as number);
    if (opcode === OP.return) this.edits.add(opcodeAt, EDIT.return, this.#depth - 1);
    if (opcode === OP.brIf) {
      this.#height -= 1;
      this.#startClass();
    } else {
      this.#dead = 0;
    }
  }

  #push(kind: number, parameters: number, results: number): void {
    const frame = this.#depth * FRAME.size;
    if (frame + FRAME.size > this.#frames.length) {
      const grown = new Int32Array(this.#frames.length * 2);
      grown.set(this.#frames);
      this.#frames = grown;
    }
    this.#frames[frame + FRAME.kind] = kind;
    this.#frames[frame + FRAME.height] = this.#height - parameters;
    this.#frames[frame + FRAME.parameters] = parameters;
    this.#frames[frame + FRAME.results] = results;
    this.#depth += 1;
  }

  #startClass(): void {
    if (this.#classes === this.costs.length) {
      const grown = new Float64Array(this.#classes * 2);
      grown.set(this.costs);
      this.costs = grown;
    }
    this.costs[this.#classes] = 0;
    this.edits.add(this.#at, EDIT.charge, this.#classes);
    this.#classes += 1;
  }

  #cost(fuel: number): void {
    const current = this.#classes - 1;
    this.costs[current] = (this.costs[current] as number) + fuel;
  }

  #skipImmediates(opcode: number, form: number): void {
    switch (form) {
      case FORM.plain:
        return;
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
      if (isNegative && shift > 0) throw refused('reference types');
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

/**
 * Type of the result by opcode, for the operators whose NaN has bits that the specification leaves
 * open (section 4.3.3, "NaN propagation"); 0 for all others.
 */
const NAN_TYPE = new Uint8Array(256);
NAN_TYPE.fill(VALUE_TYPE.f32, 0x8d, 0x98);
NAN_TYPE.fill(VALUE_TYPE.f64, 0x9b, 0xa6);
NAN_TYPE[0xb6] = VALUE_TYPE.f32;
NAN_TYPE[0xbb] = VALUE_TYPE.f64;

function checkLocalType(type: number): void {
  if (type >= VALUE_TYPE.f64 && type <= VALUE_TYPE.i32) return;
  throw refused(type === 0x7b ? 'SIMD' : 'reference types');
}

function refused(feature: string) {
  return invalid(`its code uses ${feature}, which applications may not`);
}
