const FIRST_BYTES = 4_096;
/** Memory above this is given away with what is in it, not kept for the next. */
const KEPT_BYTES_MAX = 1_048_576;
/** Up to this length a text is written faster here than by a call into native code. */
const SHORT_CHARS = 48;

/** Writes numbers (big-endian), bytes and texts one after the other into memory that it grows. */
export class ByteWriter {
  #buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
  #length = 0;

  /** Bytes written so far. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length] = value;
    this.#length += 1;
  }

  i32(value: number): void {
    this.#reserve(4);
    this.#length = this.#buffer.writeInt32BE(value, this.#length);
  }

  i64(value: bigint): void {
    this.#reserve(8);
    this.#length = this.#buffer.writeBigInt64BE(value, this.#length);
  }

  f64(value: number): void {
    this.#reserve(8);
    this.#length = this.#buffer.writeDoubleBE(value, this.#length);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** An i32 length and the bytes; −1 and nothing for null. */
  bytes(bytes: Uint8Array | null): void {
    this.i32(bytes === null ? -1 : bytes.length);
    if (bytes !== null) this.raw(bytes);
  }

  /** Like `bytes`, of the UTF-8 of a text. */
  text(text: string | null): void {
    if (text === null) return this.i32(-1);
    this.#reserve(4 + text.length * 3);
    const at = this.#length + 4;
    const written = this.#ascii(text, at) ? text.length : this.#buffer.write(text, at);
    this.#buffer.writeInt32BE(written, this.#length);
    this.#length = at + written;
  }

  /** Overwrites the i32 at `at` with the number of bytes that follow it. */
  patchLength(at: number): void {
    this.#buffer.writeInt32BE(this.#length - at - 4, at);
  }

  /** Forgets what was written after the first `length` bytes. */
  truncate(length: number): void {
    this.#length = length;
  }

  /** What was written, in memory that nobody else uses; the next write starts over. */
  take(): Buffer<ArrayBuffer> {
    const written = this.#buffer.subarray(0, this.#length);
    this.#length = 0;
    if (written.length > KEPT_BYTES_MAX) {
      this.#buffer = Buffer.allocUnsafeSlow(FIRST_BYTES);
      return written;
    }
    const taken = Buffer.allocUnsafeSlow(written.length);
    taken.set(written);
    return taken;
  }

  /** False when the text is long or not ASCII: what was written of it is then of no use. */
  #ascii(text: string, at: number): boolean {
    if (text.length > SHORT_CHARS) return false;
    const buffer = this.#buffer;
    for (let i = 0; i < text.length; i += 1) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      buffer[at + i] = code;
    }
    return true;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#buffer.length * 2, needed));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
