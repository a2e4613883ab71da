/** What is put into the code of a function. */
export const EDIT = {
  /** Pays for the stretch of code that the argument numbers. */
  charge: 0,
  /** Gives a NaN on the stack its one form; the argument is its type. */
  canonical: 1,
  /** Pays for the number of bytes on the stack. */
  bulk: 2,
  /** Pays for the number of pages on the stack. */
  grow: 3,
  /** A `return`, at the block depth of the argument. */
  return: 4,
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
    if (this.count === this.at.length) this.#grow();
    this.at[this.count] = at;
    this.kind[this.count] = kind;
    this.argument[this.count] = argument;
    this.count += 1;
  }

  #grow(): void {
    const length = this.count * 2;
    const { at, kind, argument } = this;
    this.at = new Uint32Array(length);
    this.kind = new Uint8Array(length);
    this.argument = new Uint32Array(length);
    this.at.set(at);
    this.kind.set(kind);
    this.argument.set(argument);
  }
}
