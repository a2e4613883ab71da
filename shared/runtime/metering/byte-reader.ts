import { AppError } from '#shared/domain/app-error.ts';

/** Reads the binary format of a module; throws AppError `invalid_request` where it is broken. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get at(): number {
    return this.#at;
  }

  get isDone(): boolean {
    return this.#at >= this.#end;
  }

  u8(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined || this.#at >= this.#end) throw truncated();
    this.#at += 1;
    return byte;
  }

  /** Unsigned LEB128 of at most five bytes (WebAssembly core specification, section 5.2.2). */
  u32(): number {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.u8();
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
    throw truncated();
  }

  /** Skips a LEB128 number of any width and sign. */
  skipNumber(): void {
    while (this.u8() >= 0x80);
  }

  skip(length: number): void {
    if (this.#at + length > this.#end) throw truncated();
    this.#at += length;
  }

  text(): string {
    const length = this.u32();
    const from = this.#at;
    this.skip(length);
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + from, length).toString();
  }
}

/** The refusal of a module, with its reason. */
export function invalid(reason: string): AppError {
  return new AppError('invalid_request', `the application cannot be installed: ${reason}`);
}

function truncated(): AppError {
  return invalid('the module is truncated or malformed');
}
