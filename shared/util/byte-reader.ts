import { assert } from './assert.ts';

/** Reads what a `ByteWriter` wrote, in the same order. Throws when there is less than is asked for. */
export class ByteReader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get isAtEnd(): boolean {
    return this.#at === this.#buffer.length;
  }

  u8(): number {
    this.#at += 1;
    return this.#buffer.readUInt8(this.#at - 1);
  }

  i32(): number {
    this.#at += 4;
    return this.#buffer.readInt32BE(this.#at - 4);
  }

  i64(): bigint {
    this.#at += 8;
    return this.#buffer.readBigInt64BE(this.#at - 8);
  }

  f64(): number {
    this.#at += 8;
    return this.#buffer.readDoubleBE(this.#at - 8);
  }

  /** A view on the memory that is read from, not a copy. */
  raw(length: number): Buffer {
    const end = this.#at + length;
    assert(length >= 0 && end <= this.#buffer.length, 'an encoding holds what it says');
    const bytes = this.#buffer.subarray(this.#at, end);
    this.#at = end;
    return bytes;
  }

  /** As `raw`. */
  bytes(): Buffer | null {
    const length = this.i32();
    return length === -1 ? null : this.raw(length);
  }

  text(): string | null {
    const length = this.i32();
    if (length === -1) return null;
    const end = this.#at + length;
    assert(length >= 0 && end <= this.#buffer.length, 'an encoding holds what it says');
    const text = this.#buffer.toString('utf8', this.#at, end);
    this.#at = end;
    return text;
  }

  /** A text that is never null. */
  someText(): string {
    const text = this.text();
    assert(text !== null, 'the field is never null');
    return text;
  }

  /** Bytes that are never null; as `raw`. */
  someBytes(): Buffer {
    const bytes = this.bytes();
    assert(bytes !== null, 'the field is never null');
    return bytes;
  }
}
