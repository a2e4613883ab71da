import { assert } from '#shared/util/assert.ts';

/**
 * COPY's binary format (PostgreSQL documentation, "COPY", "Binary Format"): a header of 11 bytes
 * signature, u32 flags and u32 length of an extension; tuples of an i16 count of fields and for
 * each an i32 length, −1 for null, and its bytes; a trailer of an i16 −1.
 */
const HEADER_BYTES = 19;
const TRAILER = -1;

/** Cuts the stream of a COPY into pages of whole tuples, of about `pageBytes` or one tuple. */
export async function* splitCopy(
  chunks: AsyncIterable<Uint8Array>,
  pageBytes: number,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  const cutter = new Cutter(pageBytes);
  for await (const chunk of chunks) {
    cutter.add(chunk);
    while (cutter.isFull) yield cutter.take();
  }
  assert(cutter.isAtEnd, 'a COPY ends with its trailer');
  const rest = cutter.take();
  if (rest.length > 0) yield rest;
}

class Cutter {
  readonly #pageBytes: number;
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #length = 0;
  /** Up to where there are whole tuples. */
  #whole = 0;
  #hasHeader = false;
  isAtEnd = false;

  constructor(pageBytes: number) {
    this.#pageBytes = pageBytes;
    this.#bytes = new Uint8Array(pageBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get isFull(): boolean {
    return this.#whole >= this.#pageBytes;
  }

  add(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#bytes.length) this.#move(Math.max(length, this.#bytes.length * 2));
    this.#bytes.set(chunk, this.#length);
    this.#length = length;
    this.#scan();
  }

  /** The whole tuples so far, in a buffer of their own. */
  take(): Uint8Array<ArrayBuffer> {
    const page = this.#bytes.subarray(0, this.#whole);
    const rest = this.#bytes.subarray(this.#whole, this.#length);
    this.#bytes = new Uint8Array(Math.max(this.#pageBytes, rest.length));
    this.#view = new DataView(this.#bytes.buffer);
    this.#bytes.set(rest);
    this.#length = rest.length;
    this.#whole = 0;
    this.#scan();
    return page;
  }

  #scan(): void {
    if (!this.#hasHeader) {
      if (this.#length < HEADER_BYTES) return;
      this.#hasHeader = true;
      this.#bytes.copyWithin(0, HEADER_BYTES, this.#length);
      this.#length -= HEADER_BYTES;
    }
    while (this.#whole < this.#pageBytes) {
      const end = this.#endOfTuple(this.#whole);
      if (end === null) return;
      this.#whole = end;
    }
  }

  /** Where the tuple that begins at `start` ends, or null while it is not whole, or at the end. */
  #endOfTuple(start: number): number | null {
    let at = start + 2;
    if (at > this.#length) return null;
    const fields = this.#view.getInt16(start);
    if (fields === TRAILER) {
      this.isAtEnd = true;
      return null;
    }
    for (let field = 0; field < fields; field += 1) {
      if (at + 4 > this.#length) return null;
      at += 4 + Math.max(0, this.#view.getInt32(at));
    }
    return at <= this.#length ? at : null;
  }

  #move(size: number): void {
    const larger = new Uint8Array(size);
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
    this.#view = new DataView(larger.buffer);
  }
}

/** Walks over the tuples of a page; columns are named by their places. */
export class CopyRows {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  readonly #starts: Int32Array;
  readonly #lengths: Int32Array;
  #at = 0;

  constructor(columns: Readonly<Record<string, number>>, page: Uint8Array) {
    const count = Object.keys(columns).length;
    this.#bytes = Buffer.from(page.buffer, page.byteOffset, page.length);
    this.#view = new DataView(page.buffer, page.byteOffset, page.length);
    this.#starts = new Int32Array(count);
    this.#lengths = new Int32Array(count);
  }

  /** Goes to the next row; false behind the last. */
  next(): boolean {
    if (this.#at >= this.#bytes.length) return false;
    assert(this.#view.getInt16(this.#at) === this.#starts.length, 'a tuple has its columns');
    this.#at += 2;
    for (let i = 0; i < this.#starts.length; i += 1) {
      const length = this.#view.getInt32(this.#at);
      this.#starts[i] = this.#at + 4;
      this.#lengths[i] = length;
      this.#at += 4 + Math.max(0, length);
    }
    return true;
  }

  /** A view into the page, or null. */
  optional(column: number): Buffer | null {
    const length = this.#lengths[column] ?? -1;
    if (length < 0) return null;
    const start = this.#starts[column] ?? 0;
    return this.#bytes.subarray(start, start + length);
  }

  /** A view into the page. */
  bytes(column: number): Buffer {
    const bytes = this.optional(column);
    assert(bytes !== null, 'the column is never null');
    return bytes;
  }

  int8(column: number): bigint {
    return this.#view.getBigInt64(this.#starts[column] ?? 0);
  }

  int4(column: number): number {
    return this.#view.getInt32(this.#starts[column] ?? 0);
  }
}
