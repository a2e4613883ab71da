import {
  F32,
  F64,
  type FunctionCode,
  I32,
  I64,
  type Instruction,
  type Program,
  type Signature,
  type Type,
} from './program.ts';
import { f32Of, f64Of } from './numeric.ts';
import { Seeded } from './random.ts';

const TYPES: readonly Type[] = [I32, I64, F32, F64];
const FLOATY: readonly Type[] = [F32, F64, F64, F32, F64, I32];
const NOTE: Signature = { parameters: [I32, I64], results: [I32] };
const NOTHING: Signature = { parameters: [], results: [] };
/** Global that bounds how many calls one execution makes. */
const CALLS_LEFT = 0;
const CALLS_MAX = 40n;

export interface SmithOptions {
  /** Most values are floats, and many of them are stored: to find bits of NaNs. */
  readonly isFloaty: boolean;
  /** Loops may go on for ever. */
  readonly isEndless: boolean;
  /** A few without. */
  readonly functions?: number;
}

/** A program that is valid by construction; the same seed always makes the same. */
export function makeProgram(seed: number, options: SmithOptions): Program {
  const { isFloaty, isEndless } = options;
  const random = new Seeded(seed);
  const favoured = isFloaty ? FLOATY : TYPES;
  const count = options.functions ?? 2 + random.below(5);
  const types = Array.from({ length: count }, () => signature(random, favoured));
  const globals = [
    { type: I32 as Type, bits: CALLS_MAX },
    ...Array.from({ length: 4 }, (_, i) => {
      const type = TYPES[i] ?? I32;
      return { type, bits: constantBits(random, type) };
    }),
  ];
  const table = Array.from({ length: 1 + random.below(6) }, () => random.below(count + 1));
  const globalTypes = globals.map(({ type }) => type);
  const context = { random, types, table, favoured, isFloaty, isEndless, globals: globalTypes };
  return {
    note: NOTE,
    functions: types.map((type) => new FunctionSmith(context, type).make()),
    globals,
    table,
    pages: 1,
    pagesMax: 1 + random.below(4),
    data: Uint8Array.from({ length: 64 }, () => random.below(256)),
  };
}

interface Context {
  readonly favoured: readonly Type[];
  readonly isFloaty: boolean;
  readonly isEndless: boolean;
  readonly random: Seeded;
  readonly types: readonly Signature[];
  readonly globals: readonly Type[];
  readonly table: readonly number[];
}

/** A label that code may branch to. */
interface Label {
  readonly types: readonly Type[];
  /** Local that counts the rounds of a loop whose end checks it; null where branching is free. */
  readonly counter: number | null;
}

function signature(random: Seeded, favoured: readonly Type[]): Signature {
  const some = () => Array.from({ length: random.below(4) }, () => random.pick(favoured));
  return { parameters: some(), results: some() };
}

/** Interesting bits as often as any: zeros, ones, extremes, infinities and odd NaNs. */
function constantBits(random: Seeded, type: Type): bigint {
  const any = (BigInt(random.u32()) << 32n) | BigInt(random.u32());
  if (random.chance(30)) return type === I32 || type === F32 ? any & 0xffff_ffffn : any;
  return random.pick(SPECIAL[type]);
}

const SPECIAL: Readonly<Record<Type, readonly bigint[]>> = {
  [I32]: hex('0 1 2 7 40 3e8 7fffffff 80000000 ffffffff'),
  [I64]: hex('0 1 3 64 7fffffffffffffff 8000000000000000 ffffffffffffffff'),
  [F32]: hex(
    '0 1 80000000 3f800000 bf800000 3f000000 40a00000 4f000000',
    '7f800000 ff800000 7fc00000 ffc00000 7fa01234 ffffffff',
  ),
  [F64]: hex(
    '0 1 8000000000000000 3ff0000000000000 bff8000000000000 4059000000000000 41e0000000000000',
    '7ff0000000000000 fff0000000000000 7ff8000000000000 fff8000000000001 7ff4000000001234',
  ),
};

/** What makes NaNs, and those whose bits are not the canonical ones. */
const ODD: Readonly<Record<Type, readonly bigint[]>> = {
  [I32]: hex('0 1'),
  [I64]: hex('0 1'),
  [F32]: hex('0 7f800000 ff800000 7fc00100 ffa01234'),
  [F64]: hex('0 7ff0000000000000 fff0000000000000 7ff8000000000100 fff4000000001234'),
};

function hex(...lines: readonly string[]): bigint[] {
  return lines.flatMap((line) => line.split(' ').map((digits) => BigInt(`0x${digits}`)));
}

/** As an argument: no NaN, whose bits would be lost on the way through JavaScript. */
export function argumentBits(random: Seeded, type: Type): bigint {
  const bits = constantBits(random, type);
  const isNan =
    type === F32 ? Number.isNaN(f32Of(bits)) : type === F64 && Number.isNaN(f64Of(bits));
  return isNan ? 0n : bits;
}

/** Operators of one or two operands of one type, by the type of their result. */
const OPERATORS: Readonly<Record<Type, readonly Operator[]>> = {
  [I32]: [
    ...unary(I32, 0x45, 0x67, 0x68, 0x69, 0xc0, 0xc1),
    ...binary(I32, ...range(0x46, 0x4f), ...range(0x6a, 0x6c), ...range(0x71, 0x78)),
    ...unary(I64, 0x50, 0xa7),
    ...binary(I64, ...range(0x51, 0x5a)),
    ...binary(F32, ...range(0x5b, 0x60)),
    ...binary(F64, ...range(0x61, 0x66)),
    ...unary(F32, 0xbc),
  ],
  [I64]: [
    ...unary(I64, 0x79, 0x7a, 0x7b, 0xc2, 0xc3, 0xc4),
    ...binary(I64, 0x7c, 0x7d, 0x7e, ...range(0x83, 0x8a)),
    ...unary(I32, 0xac, 0xad),
    ...unary(F64, 0xbd),
  ],
  [F32]: [
    ...unary(F32, ...range(0x8b, 0x91)),
    ...binary(F32, ...range(0x92, 0x98)),
    ...binary(F32, ...range(0x92, 0x95)),
    ...unary(I32, 0xb2, 0xb3, 0xbe),
    ...unary(I64, 0xb4, 0xb5),
    ...unary(F64, 0xb6),
  ],
  [F64]: [
    ...unary(F64, ...range(0x99, 0x9f)),
    ...binary(F64, ...range(0xa0, 0xa6)),
    ...binary(F64, ...range(0xa0, 0xa3)),
    ...unary(I32, 0xb7, 0xb8),
    ...unary(I64, 0xb9, 0xba, 0xbf),
    ...unary(F32, 0xbb),
  ],
};

/** Operators that trap for some operands, and conversions that saturate instead. */
const TRAPPING: Readonly<Partial<Record<Type, readonly Operator[]>>> = {
  [I32]: [
    ...binary(I32, ...range(0x6d, 0x70)),
    ...unary(F32, 0xa8, 0xa9),
    ...unary(F64, 0xaa, 0xab),
  ],
  [I64]: [
    ...binary(I64, ...range(0x7f, 0x82)),
    ...unary(F32, 0xae, 0xaf),
    ...unary(F64, 0xb0, 0xb1),
  ],
};

interface Operator {
  readonly opcode: number;
  readonly operands: readonly Type[];
}

function unary(type: Type, ...opcodes: readonly number[]): Operator[] {
  return opcodes.map((opcode) => ({ opcode, operands: [type] }));
}

function binary(type: Type, ...opcodes: readonly number[]): Operator[] {
  return opcodes.map((opcode) => ({ opcode, operands: [type, type] }));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** Loads and stores by type of value. */
const LOADS: Readonly<Record<Type, readonly number[]>> = {
  [I32]: [0x28, 0x2c, 0x2d, 0x2e, 0x2f],
  [I64]: [0x29, ...range(0x30, 0x35)],
  [F32]: [0x2a],
  [F64]: [0x2b],
};
const STORES: Readonly<Record<Type, readonly number[]>> = {
  [I32]: [0x36, 0x3a, 0x3b],
  [I64]: [0x37, 0x3c, 0x3d, 0x3e],
  [F32]: [0x38],
  [F64]: [0x39],
};

class FunctionSmith {
  readonly #context: Context;
  readonly #random: Seeded;
  readonly #type: Signature;
  /** Types of parameters and locals. */
  readonly #locals: Type[];
  /** Locals that only loops may set. */
  readonly #counters = new Set<number>();
  readonly #labels: Label[] = [];
  #left: number;

  constructor(context: Context, type: Signature) {
    this.#context = context;
    this.#random = context.random;
    this.#type = type;
    this.#left = 30 + context.random.below(150);
    const more = Array.from({ length: 2 + this.#random.below(5) }, () =>
      this.#random.pick(this.#context.favoured),
    );
    this.#locals = [...type.parameters, ...more];
  }

  make(): FunctionCode {
    this.#labels.unshift({ types: this.#type.results, counter: null });
    const body = this.#body(this.#type.results, 0);
    return { type: this.#type, locals: this.#locals.slice(this.#type.parameters.length), body };
  }

  /** Statements, then the values that the block gives, or a branch away. */
  #body(results: readonly Type[], depth: number): Instruction[] {
    const code: Instruction[] = [];
    for (let i = this.#random.below(5); i >= 0 && this.#left > 0; i -= 1) {
      code.push(...this.#statement(depth));
    }
    if (this.#random.chance(12)) {
      code.push(...this.#jump(depth));
      if (this.#random.chance(50)) return code;
    }
    return [...code, ...this.#values(results, depth)];
  }

  #values(types: readonly Type[], depth: number): Instruction[] {
    return types.flatMap((type) => this.#expression(type, depth));
  }

  #statement(depth: number): Instruction[] {
    this.#left -= 1;
    const plain = [
      () => this.#setLocal(depth),
      () => this.#setLocal(depth),
      () => this.#setGlobal(depth),
      () => this.#store(depth),
      () => this.#store(depth),
      () => [
        ...this.#expression(this.#random.pick(this.#context.favoured), depth),
        { opcode: 0x1a },
      ],
      () => this.#guardedCall(depth),
      () => this.#bulk(depth),
      () => [{ opcode: 0x01 }],
      () => this.#note(depth),
      () => this.#branchIf(depth),
      () => this.#branchIf(depth),
      () => this.#deadEnd(depth),
    ];
    const nested = [
      () => this.#block(NOTHING, depth),
      () => this.#if(NOTHING, depth),
      () => this.#if(NOTHING, depth),
      () => this.#loop(depth),
      () => this.#loop(depth),
      () => this.#switch(depth),
      () => this.#multiBlock(depth),
    ];
    const isNested = depth < 5 && this.#random.chance(45);
    return this.#random.pick<() => Instruction[]>(isNested ? nested : plain)();
  }

  #expression(type: Type, depth: number): Instruction[] {
    this.#left -= 1;
    const isShallow = this.#left <= 0 || depth > 7;
    if (isShallow || this.#random.chance(35)) return [this.#leaf(type)];
    const choices = [
      () => this.#operator(type, depth),
      () => this.#operator(type, depth),
      () => this.#operator(type, depth),
      () => [...this.#address(depth), this.#memory(LOADS[type])],
      () => this.#select(type, depth),
      () => this.#if({ parameters: [], results: [type] }, depth + 1),
      () => this.#block({ parameters: [], results: [type] }, depth + 1),
      () => this.#tee(type, depth),
      () => this.#saturate(type, depth),
      () => this.#keepingBranch(type, depth),
      () => (type === I32 ? this.#size(depth) : this.#operator(type, depth)),
      () => this.#trapping(type, depth),
    ];
    return this.#random.pick<() => Instruction[]>(choices)();
  }

  #leaf(type: Type): Instruction {
    const locals = this.#localsOf(type);
    const globals = this.#globalsOf(type);
    const kind = this.#random.below(10);
    if (kind < 5 && locals.length > 0) {
      return { opcode: 0x20, immediates: [this.#random.pick(locals)] };
    }
    if (kind < 6 && globals.length > 0) {
      return { opcode: 0x23, immediates: [this.#random.pick(globals)] };
    }
    const isOdd = this.#context.isFloaty && this.#random.chance(60);
    return constant(type, isOdd ? this.#random.pick(ODD[type]) : constantBits(this.#random, type));
  }

  #operator(type: Type, depth: number): Instruction[] {
    const { opcode, operands } = this.#random.pick(OPERATORS[type]);
    return [...this.#values(operands, depth + 1), { opcode }];
  }

  #trapping(type: Type, depth: number): Instruction[] {
    const operators = TRAPPING[type];
    if (operators === undefined) return this.#operator(type, depth);
    const { opcode, operands } = this.#random.pick(operators);
    const code = this.#values(operands, depth + 1);
    if (operands.length === 1 && this.#random.chance(90)) return this.#operator(type, depth);
    const isWide = type === I64;
    // Mostly by an odd number, which is not zero.
    const odd = [constant(type, 1n), { opcode: isWide ? 0x84 : 0x72 }];
    return [...code, ...(operands.length === 2 && this.#random.chance(95) ? odd : []), { opcode }];
  }

  #saturate(type: Type, depth: number): Instruction[] {
    if (type === F32 || type === F64) return this.#operator(type, depth);
    const misc = this.#random.below(4);
    const source = misc < 2 ? F32 : F64;
    const number = type === I32 ? misc : misc + 4;
    return [...this.#expression(source, depth + 1), { opcode: 0xfc, misc: number }];
  }

  #select(type: Type, depth: number): Instruction[] {
    return [...this.#values([type, type, I32], depth + 1), { opcode: 0x1b }];
  }

  #tee(type: Type, depth: number): Instruction[] {
    const locals = this.#settable(type);
    const value = this.#expression(type, depth + 1);
    if (locals.length === 0) return value;
    return [...value, { opcode: 0x22, immediates: [this.#random.pick(locals)] }];
  }

  #size(depth: number): Instruction[] {
    if (this.#random.chance(60)) return [{ opcode: 0x3f, immediates: [0] }];
    const pages = this.#random.chance(80)
      ? [...this.#expression(I32, depth + 1), constant(I32, 1n), { opcode: 0x71 }]
      : this.#expression(I32, depth + 1);
    return [...pages, { opcode: 0x40, immediates: [0] }];
  }

  #setLocal(depth: number): Instruction[] {
    const type = this.#random.pick(this.#context.favoured);
    const locals = this.#settable(type);
    if (locals.length === 0) return [{ opcode: 0x01 }];
    const index = this.#random.pick(locals);
    return [...this.#expression(type, depth), { opcode: 0x21, immediates: [index] }];
  }

  #setGlobal(depth: number): Instruction[] {
    const index = 1 + this.#random.below(this.#context.globals.length - 1);
    const type = this.#context.globals[index] ?? I32;
    return [...this.#expression(type, depth), { opcode: 0x24, immediates: [index] }];
  }

  #store(depth: number): Instruction[] {
    const type = this.#random.pick(this.#context.favoured);
    return [...this.#address(depth), ...this.#expression(type, depth), this.#memory(STORES[type])];
  }

  /** Mostly within the first page. */
  #address(depth: number): Instruction[] {
    const address = this.#expression(I32, depth + 1);
    if (this.#random.chance(1)) return address;
    return [...address, constant(I32, 0x7fffn), { opcode: 0x71 }];
  }

  #memory(opcodes: readonly number[]): Instruction {
    const offset = this.#random.chance(97) ? this.#random.below(64) : this.#random.below(70_000);
    return { opcode: this.#random.pick(opcodes), immediates: [0, offset] };
  }

  #bulk(depth: number): Instruction[] {
    const length = this.#random.chance(97)
      ? [...this.#expression(I32, depth + 1), constant(I32, 63n), { opcode: 0x71 }]
      : this.#expression(I32, depth + 1);
    const to = this.#address(depth);
    const from = this.#address(depth);
    const segment = [constant(I32, BigInt(this.#random.below(8)))];
    const few = [...this.#expression(I32, depth + 1), constant(I32, 31n), { opcode: 0x71 }];
    return this.#random.pick<readonly Instruction[]>([
      [...to, ...from, ...length, { opcode: 0xfc, misc: 10, immediates: [0, 0] }],
      [...to, ...from, ...length, { opcode: 0xfc, misc: 11, immediates: [0] }],
      [...to, ...segment, ...few, { opcode: 0xfc, misc: 8, immediates: [1, 0] }],
      this.#random.chance(5) ? [{ opcode: 0xfc, misc: 9, immediates: [1] }] : [{ opcode: 0x01 }],
    ]) as Instruction[];
  }

  #note(depth: number): Instruction[] {
    return [
      ...this.#values(NOTE.parameters, depth),
      { opcode: 0x10, immediates: [0] },
      { opcode: 0x1a },
    ];
  }

  /** Calls only while the whole execution has calls left, so that recursion ends. */
  #guardedCall(depth: number): Instruction[] {
    const { types, table } = this.#context;
    const index = this.#random.below(types.length);
    const type = types[index] ?? NOTHING;
    const entry = this.#random.below(table.length + (this.#random.chance(3) ? 1 : 0));
    const reached = table[entry] ?? 0;
    const pointed = reached === 0 ? NOTE : (types[reached - 1] ?? NOTHING);
    const wrong = this.#random.chance(2);
    const isIndirect = this.#random.chance(40);
    const called = isIndirect && !wrong ? pointed : type;
    const call: Instruction[] = isIndirect
      ? [constant(I32, BigInt(entry)), { opcode: 0x11, type: called }]
      : [{ opcode: 0x10, immediates: [index + 1] }];
    const left: Instruction = { opcode: 0x23, immediates: [CALLS_LEFT] };
    this.#labels.unshift({ types: [], counter: null });
    const body = [
      left,
      constant(I32, 1n),
      { opcode: 0x6b },
      { opcode: 0x24, immediates: [CALLS_LEFT] },
      ...this.#values(called.parameters, depth + 1),
      ...call,
      ...this.#consume(called.results),
    ];
    this.#labels.shift();
    return [left, { opcode: 0x04, type: NOTHING, body }];
  }

  /** Takes values off the stack, the last first. */
  #consume(types: readonly Type[]): Instruction[] {
    return types.toReversed().flatMap((type): Instruction[] => {
      const locals = this.#settable(type);
      if (locals.length === 0 || this.#random.chance(30)) return [{ opcode: 0x1a }];
      const local = this.#random.pick(locals);
      const set: Instruction = { opcode: 0x21, immediates: [local] };
      if (!this.#context.isFloaty) return [set];
      const address = constant(I32, BigInt(this.#random.below(1_000)));
      const get: Instruction = { opcode: 0x20, immediates: [local] };
      return [set, address, get, this.#memory(STORES[type])];
    });
  }

  #block(type: Signature, depth: number): Instruction[] {
    this.#labels.unshift({ types: type.results, counter: null });
    const body = this.#body(type.results, depth + 1);
    this.#labels.shift();
    return [{ opcode: 0x02, type, body }];
  }

  #if(type: Signature, depth: number): Instruction[] {
    const condition = this.#expression(I32, depth + 1);
    this.#labels.unshift({ types: type.results, counter: null });
    const body = this.#body(type.results, depth + 1);
    const hasElse = type.results.length > 0 || this.#random.chance(50);
    const otherwise = hasElse ? this.#body(type.results, depth + 1) : undefined;
    this.#labels.shift();
    return [...condition, { opcode: 0x04, type, body, ...(otherwise && { otherwise }) }];
  }

  /** A block that takes values and gives several. */
  #multiBlock(depth: number): Instruction[] {
    const type = signature(this.#random, this.#context.favoured);
    const values = this.#values(type.parameters, depth);
    const opcode = this.#random.pick([0x02, 0x04]);
    const condition = opcode === 0x04 ? this.#expression(I32, depth) : [];
    this.#labels.unshift({ types: type.results, counter: null });
    const side = () => [...this.#consume(type.parameters), ...this.#body(type.results, depth + 1)];
    const block: Instruction = {
      opcode,
      type,
      body: side(),
      ...(opcode === 0x04 && { otherwise: side() }),
    };
    this.#labels.shift();
    return [...values, ...condition, block, ...this.#consume(type.results)];
  }

  /** A loop of few rounds: checked at its head, where any branch back is free, or at its end. */
  #loop(depth: number): Instruction[] {
    const counter = this.#locals.length;
    this.#locals.push(I32);
    this.#counters.add(counter);
    const most = this.#isEndless() ? 0x7fff_ffff : 5;
    const rounds = constant(I32, BigInt(1 + this.#random.below(most)));
    const start: Instruction[] = [rounds, { opcode: 0x21, immediates: [counter] }];
    const carried = this.#random.chance(25)
      ? signature(this.#random, this.#context.favoured).parameters
      : [];
    const values = this.#values(carried, depth);
    const atHead = this.#random.chance(60);
    const type: Signature = { parameters: carried, results: carried };
    const code = atHead
      ? this.#headLoop(type, counter, depth)
      : this.#endLoop(type, counter, depth);
    return [...start, ...values, ...code, ...this.#consume(carried)];
  }

  #isEndless(): boolean {
    return this.#context.isEndless && this.#random.chance(30);
  }

  #headLoop(type: Signature, counter: number, depth: number): Instruction[] {
    const carried = type.parameters;
    // The label of the loop, and that of the block around it.
    this.#labels.unshift({ types: carried, counter: null }, { types: carried, counter: null });
    const check = [...countDown(counter), { opcode: 0x45 }, { opcode: 0x0d, immediates: [1] }];
    const body = [
      ...(this.#isEndless() ? [] : check),
      ...this.#consume(carried),
      ...this.#body(carried, depth + 1),
      ...(this.#random.chance(80) ? [{ opcode: 0x0c, immediates: [0] }] : []),
    ];
    this.#labels.splice(0, 2);
    return [{ opcode: 0x02, type, body: [{ opcode: 0x03, type, body }] }];
  }

  #endLoop(type: Signature, counter: number, depth: number): Instruction[] {
    const carried = type.parameters;
    this.#labels.unshift({ types: carried, counter });
    const body = [
      ...this.#consume(carried),
      ...this.#body(carried, depth + 1),
      ...countDown(counter),
      { opcode: 0x0d, immediates: [0] },
    ];
    this.#labels.shift();
    return [{ opcode: 0x03, type, body }];
  }

  /** Nested blocks with a jump table in the innermost. */
  #switch(depth: number): Instruction[] {
    const cases = 1 + this.#random.below(3);
    const labels = Array.from({ length: cases }, (): Label => ({ types: [], counter: null }));
    this.#labels.unshift(...labels);
    const targets = this.#labels.flatMap(({ types, counter }, i) =>
      types.length === 0 && counter === null ? [i] : [],
    );
    const table = Array.from({ length: this.#random.below(5) }, () => this.#random.pick(targets));
    let code: Instruction[] = [
      ...this.#expression(I32, depth + 1),
      constant(I32, 7n),
      { opcode: 0x71 },
      { opcode: 0x0e, immediates: [table.length, ...table, this.#random.pick(targets)] },
    ];
    for (let i = 0; i < cases; i += 1) {
      this.#labels.shift();
      code = [{ opcode: 0x02, type: NOTHING, body: code }, ...this.#body([], depth + 1)];
    }
    return code;
  }

  /** Leaves on a condition, to any label. */
  #branchIf(depth: number): Instruction[] {
    const label = this.#random.below(this.#labels.length);
    const { types, counter } = this.#labels[label] ?? { types: [], counter: null };
    const condition = counter === null ? this.#expression(I32, depth) : countDown(counter);
    return [
      ...this.#values(types, depth),
      ...condition,
      { opcode: 0x0d, immediates: [label] },
      ...types.map(() => ({ opcode: 0x1a })),
    ];
  }

  /** As `branchIf`, where the value stays on the stack. */
  #keepingBranch(type: Type, depth: number): Instruction[] {
    const label = this.#labels.findIndex(
      ({ types, counter }) => types.length === 1 && types[0] === type && counter === null,
    );
    if (label < 0) return this.#operator(type, depth);
    const operands = this.#values([type, I32], depth + 1);
    return [...operands, { opcode: 0x0d, immediates: [label] }];
  }

  /** Leaves for certain; what follows is never reached. */
  #jump(depth: number): Instruction[] {
    const free = this.#labels.flatMap(({ counter }, i) => (counter === null ? [i] : []));
    const label = this.#random.pick(free);
    const types = this.#labels[label]?.types ?? [];
    if (this.#random.chance(15))
      return [...this.#values(this.#type.results, depth), { opcode: 0x0f }];
    return [...this.#values(types, depth), { opcode: 0x0c, immediates: [label] }];
  }

  /** A side that ends in a trap, rarely taken. */
  #deadEnd(depth: number): Instruction[] {
    const condition = [
      ...this.#expression(I32, depth),
      constant(I32, 0x5bd1e995n),
      { opcode: 0x46 },
    ];
    this.#labels.unshift({ types: [], counter: null });
    const body = [...this.#statement(depth + 1), { opcode: 0x00 }];
    this.#labels.shift();
    return [...condition, { opcode: 0x04, type: NOTHING, body }];
  }

  #localsOf(type: Type): number[] {
    return this.#locals.flatMap((local, i) => (local === type ? [i] : []));
  }

  #settable(type: Type): number[] {
    return this.#localsOf(type).filter((local) => !this.#counters.has(local));
  }

  #globalsOf(type: Type): number[] {
    return this.#context.globals.flatMap((global, i) => (global === type ? [i] : []));
  }
}

function constant(type: Type, bits: bigint): Instruction {
  return { opcode: CONST_OF[type], bits };
}

const CONST_OF: Readonly<Record<Type, number>> = {
  [I32]: 0x41,
  [I64]: 0x42,
  [F32]: 0x43,
  [F64]: 0x44,
};

/** Takes one off a counter and tells whether there is any left. */
function countDown(counter: number): Instruction[] {
  return [
    { opcode: 0x20, immediates: [counter] },
    constant(I32, 1n),
    { opcode: 0x6b },
    { opcode: 0x22, immediates: [counter] },
    constant(I32, 0n),
    { opcode: 0x4a },
  ];
}
