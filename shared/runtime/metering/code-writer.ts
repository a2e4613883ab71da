/** Writes the binary format into one buffer that grows. Callers `reserve` before they write. */
export class CodeWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #at = 0;

  constructor(capacity: number) {
    this.#bytes = new Uint8Array(capacity);
  }

  get at(): number {
    return this.#at;
  }

  /** Makes room for `count` bytes more. */
  reserve(count: number): void {
    if (this.#at + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#at + count));
    grown.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = grown;
  }

  byte(value: number): void {
    this.#bytes[this.#at] = value;
    this.#at += 1;
  }

  two(first: number, second: number): void {
    this.byte(first);
    this.byte(second);
  }

  /** Unsigned LEB128. */
  u32(value: number): void {
    let left = value;
    while (left > 0x7f) {
      this.byte((left & 0x7f) | 0x80);
      left >>>= 7;
    }
    this.byte(left);
  }

  /** Signed LEB128 of a number that is not negative and at most 2 ** 52. */
  positive(value: number): void {
    let left = value;
    while (left > 0x3f) {
      this.byte((left % 128) | 0x80);
      left = Math.floor(left / 128);
    }
    this.byte(left);
  }

  /** An opcode with an index. */
  indexed(opcode: number, index: number): void {
    this.byte(opcode);
    this.u32(index);
  }

  copy(source: Uint8Array, from: number, to: number): void {
    for (let at = from; at < to; at += 1) this.byte(source[at] as number);
  }

  /** Reserves, and copies in one go. */
  append(bytes: Uint8Array): void {
    this.reserve(bytes.length);
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Leaves five bytes for a number that is known later: the place for `endLength` or `patch`. */
  beginLength(): number {
    this.#at += 5;
    return this.#at;
  }

  /** Writes how many bytes came since. */
  endLength(start: number): void {
    this.patch(start, this.#at - start);
  }

  /** Writes a number below 2 ** 31 into the five bytes before an offset, signed or not. */
  patch(end: number, value: number): void {
    let left = value;
    for (let at = end - 5; at < end - 1; at += 1) {
      this.#bytes[at] = (left & 0x7f) | 0x80;
      left >>>= 7;
    }
    this.#bytes[end - 1] = left;
  }

  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#at);
  }
}
