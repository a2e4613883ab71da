import {
  BULK_BYTES_SHIFT,
  GROW_PAGE_COST,
  MISC_OPERATOR_COSTS,
  OPERATOR_COSTS,
} from '#shared/runtime/metering/cost-table.ts';
import { BINARY, SATURATING, Trap, UNARY } from './numeric.ts';
import type { Instruction, Program, Signature, Type } from './program.ts';

const PAGE_BYTES = 65_536;
const PAGES_MAX = 1_024;
/** A level that no branch has: the function is left. */
const RETURN = Number.MAX_SAFE_INTEGER;
const NORMAL = -1;

/** The program ran for longer than the test wants to wait. */
export class StepsExceeded extends Error {
  override readonly name = 'StepsExceeded';
}

/**
 * Executes a program one operator at a time and adds up what each costs: the oracle that the
 * instrumented module is held against. It knows nothing of blocks that are paid for together.
 */
export class Interpreter {
  fuel = 0;
  /** True when arithmetic made a NaN, whose bits the original may show. */
  madeNan = false;
  readonly notes: bigint[] = [];
  readonly globals: bigint[];
  memory: Uint8Array;
  readonly #program: Program;
  #stepsLeft: number;
  #isDropped = false;

  constructor(program: Program, stepsMax: number) {
    this.#program = program;
    this.#stepsLeft = stepsMax;
    this.globals = program.globals.map(({ type, bits }) => clamp(type, bits));
    this.memory = new Uint8Array(program.pages * PAGE_BYTES);
    this.memory.set(program.data);
  }

  /** Results of a function, by its index without the imported one. */
  call(index: number, args: readonly bigint[]): bigint[] {
    const code = this.#program.functions[index];
    if (code === undefined) throw new Error(`no function ${index}`);
    const stack: bigint[] = [];
    const locals = [...args, ...code.locals.map(() => 0n)];
    this.#run(code.body, stack, { locals });
    return stack.slice(stack.length - code.type.results.length);
  }

  /** Runs a sequence; gives the level that a branch goes to, counted from here. */
  #run(body: readonly Instruction[], stack: bigint[], frame: Frame): number {
    for (const instruction of body) {
      this.#stepsLeft -= 1;
      if (this.#stepsLeft < 0) throw new StepsExceeded();
      const { opcode, misc } = instruction;
      this.fuel += misc === undefined ? costOf(opcode) : (MISC_OPERATOR_COSTS[misc] ?? Number.NaN);
      const level = this.#step(instruction, stack, frame);
      if (level !== NORMAL) return level;
    }
    return NORMAL;
  }

  #step(instruction: Instruction, stack: bigint[], frame: Frame): number {
    const { opcode, misc, bits } = instruction;
    if (bits !== undefined) {
      stack.push(
        opcode === 0x41 || opcode === 0x43 ? BigInt.asUintN(32, bits) : BigInt.asUintN(64, bits),
      );
      return NORMAL;
    }
    const unary = misc === undefined ? UNARY.get(opcode) : SATURATING.get(misc);
    if (unary !== undefined) {
      this.#give(opcode, unary(pop(stack)), stack);
      return NORMAL;
    }
    const binary = BINARY.get(opcode);
    if (binary !== undefined) {
      const right = pop(stack);
      this.#give(opcode, binary(pop(stack), right), stack);
      return NORMAL;
    }
    if (misc !== undefined) this.#bulk(misc, stack);
    else if (opcode <= 0x11) return this.#control(instruction, stack, frame);
    else this.#other(instruction, stack, frame);
    return NORMAL;
  }

  #give(opcode: number, bits: bigint, stack: bigint[]): void {
    const isNan = bits === 0x7fc0_0000n || bits === 0x7ff8_0000_0000_0000n;
    this.madeNan ||= isNan && opcode >= 0x8b && opcode <= 0xbb;
    stack.push(bits);
  }

  #control(instruction: Instruction, stack: bigint[], frame: Frame): number {
    const { opcode, immediates = [], type = NOTHING, body = [], otherwise = [] } = instruction;
    const [first = 0] = immediates;
    switch (opcode) {
      case 0x00:
        throw new Trap('unreachable');
      case 0x02:
        return this.#block(type, body, stack, frame);
      case 0x03:
        return this.#loop(type, body, stack, frame);
      case 0x04:
        return this.#block(type, pop(stack) === 0n ? otherwise : body, stack, frame);
      case 0x10:
        this.#call(first, stack);
        return NORMAL;
      case 0x11:
        this.#callIndirect(Number(pop(stack)), instruction, stack);
        return NORMAL;
      default:
        return branch(opcode, immediates, stack);
    }
  }

  #block(
    { parameters, results }: Signature,
    body: readonly Instruction[],
    stack: bigint[],
    frame: Frame,
  ): number {
    const height = stack.length - parameters.length;
    const level = this.#run(body, stack, frame);
    if (level > 0) return level === RETURN ? RETURN : level - 1;
    unwind(stack, height, results.length);
    return NORMAL;
  }

  #loop(
    { parameters, results }: Signature,
    body: readonly Instruction[],
    stack: bigint[],
    frame: Frame,
  ): number {
    const height = stack.length - parameters.length;
    for (;;) {
      const level = this.#run(body, stack, frame);
      if (level > 0) return level === RETURN ? RETURN : level - 1;
      unwind(stack, height, level === 0 ? parameters.length : results.length);
      if (level === NORMAL) return NORMAL;
    }
  }

  #call(index: number, stack: bigint[]): void {
    if (index === 0) {
      const args = take(stack, this.#program.note.parameters.length);
      this.notes.push(...args);
      stack.push(BigInt.asUintN(32, BigInt(this.notes.length)));
      return;
    }
    const count = this.#program.functions[index - 1]?.type.parameters.length ?? 0;
    stack.push(...this.call(index - 1, take(stack, count)));
  }

  #callIndirect(entry: number, { type }: Instruction, stack: bigint[]): void {
    const index = this.#program.table[entry];
    if (index === undefined) throw new Trap('table index is out of bounds');
    const actual = index === 0 ? this.#program.note : this.#program.functions[index - 1]?.type;
    if (keyOf(actual) !== keyOf(type)) throw new Trap('signature mismatch');
    this.#call(index, stack);
  }

  #bulk(misc: number, stack: bigint[]): void {
    if (misc === 9) {
      this.#isDropped = true;
      return;
    }
    const length = Number(pop(stack));
    const second = Number(pop(stack));
    const target = Number(pop(stack));
    this.fuel += Math.floor(length / 2 ** BULK_BYTES_SHIFT);
    const data = this.#isDropped ? new Uint8Array() : this.#program.data;
    const source = misc === 8 ? data : this.memory;
    const isOutside = misc !== 11 && second + length > source.length;
    if (isOutside || target + length > this.memory.length) throw new Trap('out of bounds');
    if (misc === 11) this.memory.fill(second, target, target + length);
    else this.memory.set(source.slice(second, second + length), target);
  }

  #other(instruction: Instruction, stack: bigint[], frame: Frame): void {
    const { opcode, immediates = [] } = instruction;
    const [first = 0, second = 0] = immediates;
    if (opcode >= 0x28 && opcode <= 0x3e) {
      this.#access(opcode, second, stack);
      return;
    }
    if (opcode >= 0x20 && opcode <= 0x22) {
      variable(opcode - 0x20, first, stack, frame.locals);
      return;
    }
    switch (opcode) {
      case 0x1a:
        pop(stack);
        break;
      case 0x1b: {
        const condition = pop(stack);
        const other = pop(stack);
        if (condition === 0n) stack[stack.length - 1] = other;
        break;
      }
      case 0x23:
        stack.push(this.globals[first] ?? 0n);
        break;
      case 0x24:
        this.globals[first] = pop(stack);
        break;
      case 0x3f:
        stack.push(BigInt(this.memory.length / PAGE_BYTES));
        break;
      case 0x40:
        stack.push(this.#grow(Number(pop(stack))));
        break;
      default:
        throw new Error(`no operator 0x${opcode.toString(16)}`);
    }
  }

  #grow(pages: number): bigint {
    const before = this.memory.length / PAGE_BYTES;
    this.fuel += pages > PAGES_MAX ? 0 : pages * GROW_PAGE_COST;
    if (before + pages > this.#program.pagesMax) return 0xffff_ffffn;
    const grown = new Uint8Array((before + pages) * PAGE_BYTES);
    grown.set(this.memory);
    this.memory = grown;
    return BigInt(before);
  }

  #access(opcode: number, offset: number, stack: bigint[]): void {
    const isStore = opcode >= 0x36;
    const value = isStore ? pop(stack) : 0n;
    const at = Number(pop(stack)) + offset;
    const { bytes, signed, bits } = ACCESSES[opcode - 0x28] ?? {
      bytes: 1,
      signed: false,
      bits: 32,
    };
    if (at + bytes > this.memory.length) throw new Trap('out of bounds');
    if (isStore) {
      for (let i = 0; i < bytes; i += 1)
        this.memory[at + i] = Number((value >> BigInt(8 * i)) & 255n);
      return;
    }
    let loaded = 0n;
    for (let i = bytes - 1; i >= 0; i -= 1)
      loaded = (loaded << 8n) | BigInt(this.memory[at + i] ?? 0);
    stack.push(signed ? BigInt.asUintN(bits, BigInt.asIntN(8 * bytes, loaded)) : loaded);
  }
}

/** Gets, sets or tees a local. */
function variable(kind: number, index: number, stack: bigint[], locals: bigint[]): void {
  if (kind === 0) stack.push(locals[index] ?? 0n);
  else locals[index] = kind === 1 ? pop(stack) : (stack.at(-1) ?? 0n);
}

/** The level that a branch goes to. */
function branch(opcode: number, immediates: readonly number[], stack: bigint[]): number {
  const [first = 0] = immediates;
  switch (opcode) {
    case 0x0c:
      return first;
    case 0x0d:
      return pop(stack) === 0n ? NORMAL : first;
    case 0x0e: {
      const index = Number(pop(stack));
      return immediates[Math.min(index + 1, immediates.length - 1)] ?? 0;
    }
    case 0x0f:
      return RETURN;
    default:
      return NORMAL;
  }
}

interface Frame {
  readonly locals: bigint[];
}

const NOTHING: Signature = { parameters: [], results: [] };

/** Loads and stores from 0x28 on. */
const ACCESSES = [
  ...[4, 8, 4, 8].map((bytes) => ({ bytes, signed: false, bits: 8 * bytes })),
  ...[1, 1, 2, 2].map((bytes, i) => ({ bytes, signed: i % 2 === 0, bits: 32 })),
  ...[1, 1, 2, 2, 4, 4].map((bytes, i) => ({ bytes, signed: i % 2 === 0, bits: 64 })),
  ...[4, 8, 4, 8, 1, 2, 1, 2, 4].map((bytes) => ({ bytes, signed: false, bits: 64 })),
];

function costOf(opcode: number): number {
  return OPERATOR_COSTS[opcode] ?? Number.NaN;
}

export function clamp(type: Type, bits: bigint): bigint {
  return BigInt.asUintN(type === 0x7f || type === 0x7d ? 32 : 64, bits);
}

function keyOf(type: Signature | undefined): string {
  return type === undefined ? '' : `${type.parameters.join()}:${type.results.join()}`;
}

function pop(stack: bigint[]): bigint {
  const value = stack.pop();
  if (value === undefined) throw new Error('the stack is empty');
  return value;
}

function take(stack: bigint[], count: number): bigint[] {
  return stack.splice(stack.length - count, count);
}

function unwind(stack: bigint[], height: number, kept: number): void {
  const values = take(stack, kept);
  stack.length = height;
  stack.push(...values);
}
