const FIRST_BYTES = 4_096;
/** What a writer keeps for its next encoding at most. */
const KEPT_BYTES_MAX = 1_048_576;
/** Shorter texts are faster to copy character by character. */
const SHORT_CHARS_MAX = 64;
const ZERO = 0x30;
const COMMA = 0x2c;
const ABSENT = 0;
const PRESENT = 1;

const utf8 = new TextEncoder();

/**
 * Puts an encoding together in one buffer that the next encoding uses again. Integers are
 * big-endian, `bytes` is a u32 length and that many bytes, `text` is `bytes` of its UTF-8,
 * `optional x` is one byte 0, or one byte 1 and then x. Runs in browsers too.
 */
export class CanonicalWriter {
  #bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Forgets what an encoding that failed left behind. */
  start(): void {
    this.#length = 0;
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length] = value;
    this.#length += 1;
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#view.setUint32(this.#length, value);
    this.#length += 4;
  }

  u64(value: bigint): void {
    this.#reserve(8);
    this.#view.setBigUint64(this.#length, value);
    this.#length += 8;
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  bytes(bytes: Uint8Array): void {
    this.u32(bytes.length);
    this.raw(bytes);
  }

  /** A string, or its UTF-8. */
  text(text: string | Uint8Array): void {
    if (typeof text !== 'string') return this.bytes(text);
    const start = this.#length;
    this.u32(0);
    this.utf8(text);
    this.#view.setUint32(start, this.#length - start - 4);
  }

  /** The UTF-8 of a string, without its length. */
  utf8(text: string): void {
    // A UTF-16 unit takes at most three bytes.
    this.#reserve(text.length * 3);
    if (text.length <= SHORT_CHARS_MAX) {
      const bytes = this.#bytes;
      let at = this.#length;
      let i = 0;
      for (; i < text.length; i += 1) {
        const code = text.charCodeAt(i);
        if (code >= 0x80) break;
        bytes[at] = code;
        at += 1;
      }
      if (i === text.length) {
        this.#length = at;
        return;
      }
    }
    this.#length += utf8.encodeInto(text, this.#bytes.subarray(this.#length)).written;
  }

  /** Numbers in decimal, with a comma between them. */
  decimals(numbers: Uint8Array): void {
    this.#reserve(numbers.length * 4);
    const bytes = this.#bytes;
    let at = this.#length;
    for (let i = 0; i < numbers.length; i += 1) {
      const number = numbers[i] ?? 0;
      if (number >= 100) bytes[at++] = ZERO + Math.floor(number / 100);
      if (number >= 10) bytes[at++] = ZERO + (Math.floor(number / 10) % 10);
      bytes[at++] = ZERO + (number % 10);
      bytes[at++] = COMMA;
    }
    this.#length = numbers.length === 0 ? at : at - 1;
  }

  optionalBytes(value: Uint8Array | null): void {
    this.u8(value === null ? ABSENT : PRESENT);
    if (value !== null) this.bytes(value);
  }

  optionalText(value: string | Uint8Array | null): void {
    this.u8(value === null ? ABSENT : PRESENT);
    if (value !== null) this.text(value);
  }

  /** What was written, valid until this writer is used again. */
  finish(): Uint8Array {
    const written = this.#bytes.subarray(0, this.#length);
    this.start();
    if (this.#bytes.length > KEPT_BYTES_MAX) this.#grow(FIRST_BYTES);
    return written;
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#bytes.length) return;
    this.#grow(Math.max(this.#bytes.length * 2, this.#length + length));
  }

  #grow(size: number): void {
    const larger = new Uint8Array(size);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}
