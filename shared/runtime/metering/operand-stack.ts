import { EDIT, type EditList } from './edit-list.ts';
import { grown } from './growing.ts';
import { OP, POPS, PUSHES, VALUE_TYPE } from './opcodes.ts';

/** What is known of a value, if it is not the number of a node. */
const SETTLED = 0;
const NO_NAN = -1;
/** Node, local, and the next write of what was read from the same local. */
const WRITE_SIZE = 3;

/**
 * Follows the values of one function: how many there are, and where the bits of a NaN could be
 * seen.
 *
 * The specification leaves the bits of a NaN open that arithmetic makes (section 4.3.3): `add`,
 * `sub`, `mul`, `div`, `sqrt`, `min`, `max`, `ceil`, `floor`, `trunc`, `nearest`, `demote` and
 * `promote`. The rule here is that all these make the canonical NaN. Everything else passes bits
 * on as they are (`load`, `store`, `const`, `reinterpret`, `neg`, `abs`, `copysign`, `select`,
 * locals, globals, calls), and conversions from integers give no NaN.
 *
 * Making a NaN canonical can wait until somebody could tell: arithmetic, comparisons and
 * conversions to integers treat all alike. So results of arithmetic are *nodes*, made canonical
 * only if they are seen, and so are reads of a local that is only ever set to such results or to
 * what is certainly no NaN.
 */
export class OperandStack {
  height = 0;
  heightMax = 0;
  readonly #edits: EditList;
  #tags = new Int32Array(256);
  #nodeCount = 0;
  #nodeEdit = new Uint32Array(256);
  #nodeSeen = new Uint8Array(256);
  /** The local that a node reads, plus one; 0 for the result of arithmetic. */
  #nodeLocal = new Uint32Array(256);
  #localCount = 0;
  #localTypes = new Uint8Array(256);
  /** 1 for a local that may hold a NaN whose bits are settled. */
  #settled = new Uint8Array(256);
  #writes = new Int32Array(1_024 * WRITE_SIZE);
  #writeCount = 0;
  /** First write of what was read from each local, plus one. */
  #writesFrom = new Int32Array(256);
  #pending = new Uint32Array(256);

  constructor(edits: EditList) {
    this.#edits = edits;
  }

  reset(): void {
    this.height = 0;
    this.heightMax = 0;
    this.#nodeCount = 0;
    this.#writeCount = 0;
    this.#localCount = 0;
  }

  /** Parameters come first: what a caller gives has settled bits. */
  addLocals(count: number, type: number, isParameter: boolean): void {
    const from = this.#localCount;
    this.#localCount += count;
    while (this.#localCount > this.#localTypes.length) {
      this.#localTypes = grown(this.#localTypes);
      this.#settled = grown(this.#settled);
      this.#writesFrom = grown(this.#writesFrom);
      this.#pending = grown(this.#pending);
    }
    this.#localTypes.fill(type, from, this.#localCount);
    this.#settled.fill(isParameter ? 1 : 0, from, this.#localCount);
    this.#writesFrom.fill(0, from, this.#localCount);
  }

  /** An operator that takes and gives what the table of opcodes says; it ends before `at`. */
  apply(opcode: number, at: number): void {
    const flow = FLOWS[opcode] as number;
    const pops = POPS[opcode] as number;
    if (flow === FLOW.sees) this.see(pops);
    this.height -= pops;
    if (PUSHES[opcode] === 0) return;
    if (flow === FLOW.single) this.#push(this.#node(at, VALUE_TYPE.f32, 0));
    else if (flow === FLOW.double) this.#push(this.#node(at, VALUE_TYPE.f64, 0));
    else this.#push(flow === FLOW.number ? NO_NAN : SETTLED);
  }

  /** A local is read, set, or set and kept on the stack. */
  applyLocal(opcode: number, local: number, at: number): void {
    if (opcode === OP.localGet) {
      const type = this.#localTypes[local] as number;
      const isOpen = type <= VALUE_TYPE.f32 && this.#settled[local] === 0;
      this.#push(isOpen ? this.#node(at, type, local + 1) : SETTLED);
      return;
    }
    const tag = this.#tags[this.height - 1] as number;
    if ((this.#localTypes[local] as number) <= VALUE_TYPE.f32) {
      if (tag > 0) this.#write(tag, local);
      else if (tag === SETTLED) this.#settled[local] = 1;
    }
    if (opcode === OP.localSet) this.height -= 1;
  }

  /** A constant that may be a NaN, or not. */
  applyConstant(mayBeNan: boolean): void {
    this.#push(mayBeNan ? SETTLED : NO_NAN);
  }

  #push(tag: number): void {
    if (this.height === this.#tags.length) this.#tags = grown(this.#tags);
    this.#tags[this.height] = tag;
    this.height += 1;
    if (this.height > this.heightMax) this.heightMax = this.height;
  }

  /** Values whose bits are settled, as calls and blocks give. */
  pushSettled(count: number): void {
    for (let left = count; left > 0; left -= 1) this.#push(SETTLED);
  }

  /**
   * The bits of so many values on top can be seen from here on. Where code comes together, other
   * values than these may be in their places, so nothing else is known of them either.
   */
  see(count: number): void {
    for (let at = this.height - count; at < this.height; at += 1) {
      const tag = this.#tags[at] as number;
      if (tag > 0) this.#nodeSeen[tag] = 1;
      this.#tags[at] = SETTLED;
    }
  }

  /** At the end of the function: takes back the edits of nodes that nobody sees. */
  resolve(): void {
    if (this.#nodeCount === 0) return;
    this.#settleLocals();
    for (let at = 0; at < this.#writeCount; at += WRITE_SIZE) {
      const local = this.#writes[at + 1] as number;
      if (this.#settled[local] === 1) this.#nodeSeen[this.#writes[at] as number] = 1;
    }
    for (let node = 1; node <= this.#nodeCount; node += 1) {
      const local = this.#nodeLocal[node] as number;
      const isOpen = local === 0 || this.#settled[local - 1] === 0;
      if (this.#nodeSeen[node] === 0 || !isOpen) this.#edits.drop(this.#nodeEdit[node] as number);
    }
  }

  /** A local that is set to what was read from a settled one is settled as well. */
  #settleLocals(): void {
    let waiting = 0;
    for (let local = 0; local < this.#localCount; local += 1) {
      if (this.#settled[local] === 1) this.#pending[waiting++] = local;
    }
    while (waiting > 0) {
      waiting -= 1;
      const from = this.#pending[waiting] as number;
      for (let next = this.#writesFrom[from] as number; next > 0; ) {
        const local = this.#writes[next] as number;
        next = this.#writes[next + 1] as number;
        if (this.#settled[local] === 1) continue;
        this.#settled[local] = 1;
        this.#pending[waiting++] = local;
      }
    }
  }

  /** Notes a value whose bits are open; making it canonical would come at an offset. */
  #node(at: number, type: number, local: number): number {
    this.#nodeCount += 1;
    const node = this.#nodeCount;
    if (node === this.#nodeEdit.length) {
      this.#nodeEdit = grown(this.#nodeEdit);
      this.#nodeSeen = grown(this.#nodeSeen);
      this.#nodeLocal = grown(this.#nodeLocal);
    }
    this.#nodeEdit[node] = this.#edits.count;
    this.#nodeSeen[node] = 0;
    this.#nodeLocal[node] = local;
    this.#edits.add(at, EDIT.canonical, type);
    return node;
  }

  #write(node: number, local: number): void {
    const at = this.#writeCount;
    if (at + WRITE_SIZE > this.#writes.length) this.#writes = grown(this.#writes);
    const source = this.#nodeLocal[node] as number;
    this.#writes[at] = node;
    this.#writes[at + 1] = local;
    this.#writes[at + 2] = source > 0 ? (this.#writesFrom[source - 1] as number) : 0;
    if (source > 0) this.#writesFrom[source - 1] = at + 1;
    this.#writeCount += WRITE_SIZE;
  }
}

/** How operators treat the bits of their operands, and what they give. */
const FLOW = {
  /** They may tell one NaN from another; the result has settled bits, or is no float. */
  sees: 0,
  /** They treat all NaNs alike; the result is no float. */
  blind: 1,
  /** They treat all NaNs alike, and make one of f32 whose bits are open. */
  single: 2,
  /** The same of f64. */
  double: 3,
  /** The result is a float, and no NaN. */
  number: 4,
} as const;

const FLOWS = new Uint8Array(256);
FLOWS[OP.drop] = FLOW.blind;
FLOWS.fill(FLOW.blind, 0x5b, 0x67); // comparisons of floats
FLOWS.fill(FLOW.single, 0x8d, 0x98); // f32.ceil to f32.max
FLOWS.fill(FLOW.double, 0x9b, 0xa6); // f64.ceil to f64.max
FLOWS.fill(FLOW.blind, 0xa8, 0xac); // i32.trunc
FLOWS.fill(FLOW.blind, 0xae, 0xb2); // i64.trunc
FLOWS.fill(FLOW.number, 0xb2, 0xb6); // f32.convert
FLOWS[0xb6] = FLOW.single; // f32.demote_f64
FLOWS.fill(FLOW.number, 0xb7, 0xbb); // f64.convert
FLOWS[0xbb] = FLOW.double; // f64.promote_f32
