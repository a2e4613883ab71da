import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CopyRows, splitCopy } from './copy-rows.ts';

const COLUMNS = { number: 0, bytes: 1, perhaps: 2 } as const;

interface Row {
  readonly number: bigint;
  readonly bytes: Uint8Array;
  readonly perhaps: Uint8Array | null;
}

const row = fc.record({
  number: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  bytes: fc.uint8Array({ maxLength: 100 }),
  perhaps: fc.option(fc.uint8Array({ maxLength: 10 })),
});

test('rows come out of a COPY as they went in, however it is cut', async () => {
  const chunkBytes = fc.integer({ min: 1, max: 200 });
  const pageBytes = fc.integer({ min: 1, max: 500 });
  await fc.assert(
    fc.asyncProperty(fc.array(row), chunkBytes, pageBytes, async (rows, chunk, page) => {
      const read: Row[] = [];
      for await (const bytes of splitCopy(chunked(encode(rows), chunk), page)) {
        const found = rowsOf(bytes);
        expect(found.length).toBeGreaterThan(0);
        const before = found.slice(0, -1).map((one) => encodeRow(one).length);
        expect(before.reduce((sum, length) => sum + length, 0)).toBeLessThan(page);
        read.push(...found);
      }

      expect(read).toEqual(rows);
    }),
  );
});

test('a COPY that is cut off is not taken for a whole one', async () => {
  const bytes = encode([{ number: 1n, bytes: Uint8Array.of(1), perhaps: null }]).subarray(0, -2);

  const reading = (async () => {
    for await (const page of splitCopy(chunked(bytes, 7), 100)) expect(page.length).toBe(0);
  })();
  await expect(reading).rejects.toThrow('trailer');
});

function rowsOf(page: Uint8Array): Row[] {
  const rows = new CopyRows(COLUMNS, page);
  const found: Row[] = [];
  const copy = (bytes: Uint8Array | null) => (bytes === null ? null : Uint8Array.from(bytes));
  while (rows.next()) {
    found.push({
      number: rows.int8(COLUMNS.number),
      bytes: Uint8Array.from(rows.bytes(COLUMNS.bytes)),
      perhaps: copy(rows.optional(COLUMNS.perhaps)),
    });
  }
  return found;
}

function encode(rows: readonly Row[]): Buffer {
  const header = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
  return Buffer.concat([header, ...rows.map(encodeRow), Buffer.from([0xff, 0xff])]);
}

function encodeRow({ number, bytes, perhaps }: Row): Buffer {
  const int = Buffer.alloc(8);
  int.writeBigInt64BE(number);
  const fields = [int, bytes, perhaps].flatMap((field) => {
    const length = Buffer.alloc(4);
    length.writeInt32BE(field?.length ?? -1);
    return field === null ? [length] : [length, field];
  });
  return Buffer.concat([Buffer.from([0, 3]), ...fields]);
}

async function* chunked(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
