import { EDIT, type EditList } from './edit-list.ts';
import { grown } from './growing.ts';

/** What is still open about who pays for a class. */
const FIXUP = { none: 0, fork: 1, loop: 2 } as const;

/**
 * Who pays how much. A *class* is a set of stretches of code that run equally often whenever the
 * function returns; it is paid for where the first of them starts. A function that traps may have
 * paid for operators that would have followed.
 *
 * Two moves make fewer and cheaper payments, and leave the sum along each path as it is:
 * - What both sides of a fork cost at least is paid before the fork.
 * - What the head of a loop costs is paid by those who enter it and those who branch back to it,
 *   if all of these do so without a condition: each round then pays once.
 *
 * Only what every round of a loop pays is checked for exhaustion, and what a function pays at its
 * start: in between, code runs forward and soon ends.
 */
export class FuelPlan {
  /** Fuel of each class. */
  costs = new Float64Array(256);
  /** 1 for a class whose payment is checked. */
  checks = new Uint8Array(256);
  /** The class of the code that is being read. */
  current = 0;
  readonly #edits: EditList;
  #classes = 0;
  /** Fixups in the order of the code: kind and three arguments. */
  #fixups = new Int32Array(1_024);
  #fixupCount = 0;
  /** Branches back to loops, linked per loop: class and next. */
  #backs = new Int32Array(256);
  #backCount = 0;

  constructor(edits: EditList) {
    this.#edits = edits;
  }

  reset(at: number): void {
    this.#classes = 0;
    this.#fixupCount = 0;
    this.#backCount = 0;
    this.checks[this.start(at)] = 1;
  }

  /** Starts a class at an offset of the source and makes it the current one. */
  start(at: number): number {
    if (this.#classes === this.costs.length) {
      this.costs = grown(this.costs);
      this.checks = grown(this.checks);
    }
    this.current = this.#classes;
    this.#classes += 1;
    this.costs[this.current] = 0;
    this.checks[this.current] = 0;
    this.#edits.add(at, EDIT.charge, this.current);
    return this.current;
  }

  add(fuel: number): void {
    this.costs[this.current] = (this.costs[this.current] as number) + fuel;
  }

  /** A class goes on in one class or in another that is not known yet. */
  fork(before: number, one: number): number {
    return this.#fixup(FIXUP.fork, before, one);
  }

  /** The other side of a fork: a class that is only reached from there. */
  closeFork(fork: number, other: number): void {
    this.#fixups[fork + 3] = other;
  }

  /** A loop that is entered from one class, with its head in another. */
  loop(entry: number, head: number): number {
    return this.#fixup(FIXUP.loop, entry, head);
  }

  /** The current class branches back to a loop. If it may not, the head has to pay for itself. */
  branchBack(loop: number, isCertain: boolean): void {
    if (!isCertain) {
      this.#fixups[loop] = FIXUP.none;
      this.checks[this.#fixups[loop + 2] as number] = 1;
      return;
    }
    if (this.#backCount + 2 > this.#backs.length) this.#backs = grown(this.#backs);
    this.#backs[this.#backCount] = this.current;
    this.#backs[this.#backCount + 1] = this.#fixups[loop + 3] as number;
    this.#backCount += 2;
    this.#fixups[loop + 3] = this.#backCount;
  }

  /** Makes the moves, from the inner and later ones to the outer and earlier ones. */
  resolve(): void {
    for (let at = this.#fixupCount - 4; at >= 0; at -= 4) {
      const kind = this.#fixups[at];
      const third = this.#fixups[at + 3] as number;
      if (kind === FIXUP.loop) this.#moveHead(at, third);
      if (kind === FIXUP.fork && third > 0) this.#hoist(at, third);
    }
  }

  #hoist(at: number, other: number): void {
    const { costs } = this;
    const before = this.#fixups[at + 1] as number;
    const one = this.#fixups[at + 2] as number;
    const common = Math.min(costs[one] as number, costs[other] as number);
    costs[before] = (costs[before] as number) + common;
    costs[one] = (costs[one] as number) - common;
    costs[other] = (costs[other] as number) - common;
  }

  #moveHead(at: number, backs: number): void {
    const { costs } = this;
    const entry = this.#fixups[at + 1] as number;
    const head = this.#fixups[at + 2] as number;
    const fuel = costs[head] as number;
    costs[head] = 0;
    costs[entry] = (costs[entry] as number) + fuel;
    for (let back = backs; back > 0; back = this.#backs[back - 1] as number) {
      const from = this.#backs[back - 2] as number;
      costs[from] = (costs[from] as number) + fuel;
      this.checks[from] = 1;
    }
  }

  #fixup(kind: number, first: number, second: number): number {
    const at = this.#fixupCount;
    if (at + 4 > this.#fixups.length) this.#fixups = grown(this.#fixups);
    this.#fixups[at] = kind;
    this.#fixups[at + 1] = first;
    this.#fixups[at + 2] = second;
    this.#fixups[at + 3] = 0;
    this.#fixupCount += 4;
    return at;
  }
}
