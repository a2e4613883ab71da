import { AppError } from '#shared/domain/app-error.ts';

/** Reads the binary format of a module; throws AppError `invalid_request` where it is truncated. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at: number;

  constructor(bytes: Uint8Array, at = 0) {
    this.#bytes = bytes;
    this.#at = at;
  }

  get isDone(): boolean {
    return this.#at >= this.#bytes.length;
  }

  u8(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw invalid('the module is truncated');
    this.#at += 1;
    return byte;
  }

  get at(): number {
    return this.#at;
  }

  /** Skips a LEB128 number of any width and sign. */
  skipNumber(): void {
    while (this.u8() >= 0x80);
  }

  u32(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.u8();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
  }

  take(length: number): Uint8Array {
    if (this.#at + length > this.#bytes.length) throw invalid('the module is truncated');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  text(): string {
    return Buffer.from(this.take(this.u32())).toString();
  }

  list<T>(read: () => T): T[] {
    const items: T[] = [];
    for (let left = this.u32(); left > 0; left -= 1) items.push(read());
    return items;
  }
}

/** Unsigned LEB128 (WebAssembly core specification, section 5.2.2). */
export function leb(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  do {
    const more = left > 0x7f;
    bytes.push((left & 0x7f) | (more ? 0x80 : 0));
    left = Math.floor(left / 128);
  } while (left > 0);
  return bytes;
}

export function invalid(reason: string): AppError {
  return new AppError('invalid_request', `the application cannot be installed: ${reason}`);
}
