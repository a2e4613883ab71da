import { grown } from './growing.ts';
import { VALUE_TYPE } from './opcodes.ts';

/** What is put into the code of a function. */
export const EDIT = {
  none: 0,
  /** Pays for the class that the argument numbers. */
  charge: 1,
  /** Gives a NaN on the stack its one form; the argument is its type. */
  canonical: 2,
  /** Pays for the number of bytes on the stack. */
  bulk: 3,
  /** Pays for the number of pages on the stack. */
  grow: 4,
  /** A `return`, at the block depth of the argument. */
  return: 5,
} as const;

/** Places in the source with what has to be done there, in order. */
export class EditList {
  count = 0;
  at = new Uint32Array(1_024);
  kind = new Uint8Array(1_024);
  argument = new Uint32Array(1_024);

  clear(): void {
    this.count = 0;
  }

  add(at: number, kind: number, argument: number): void {
    if (this.count === this.at.length) {
      this.at = grown(this.at);
      this.kind = grown(this.kind);
      this.argument = grown(this.argument);
    }
    this.at[this.count] = at;
    this.kind[this.count] = kind;
    this.argument[this.count] = argument;
    this.count += 1;
  }

  /** Nothing is put in for an edit after all. */
  drop(edit: number): void {
    this.kind[edit] = EDIT.none;
  }

  /** Types of the values that edits need more than once. */
  scratchTypes(): number[] {
    let types = 0;
    for (let i = 0; i < this.count; i += 1) {
      const kind = this.kind[i] as number;
      if (kind === EDIT.bulk || kind === EDIT.grow) types |= 1;
      if (kind === EDIT.canonical) types |= this.argument[i] === VALUE_TYPE.f32 ? 2 : 4;
    }
    return SCRATCH.filter((_, bit) => (types & (1 << bit)) !== 0);
  }
}

const SCRATCH = [VALUE_TYPE.i32, VALUE_TYPE.f32, VALUE_TYPE.f64];
