import { describe, expect, test } from 'vitest';
import { ByteReader } from './byte-reader.ts';
import { ByteWriter } from './byte-writer.ts';

describe('what a ByteWriter wrote', () => {
  test.each([
    '',
    'set',
    'a'.repeat(48),
    'a'.repeat(5_000),
    'sät',
    '🔑'.repeat(40),
    `${'a'.repeat(47)}ä`,
  ])('is read again: the text %j', (text) => {
    const writer = new ByteWriter();

    writer.text(text);
    writer.text(null);

    const reader = new ByteReader(writer.take());
    expect(reader.text()).toBe(text);
    expect(reader.text()).toBeNull();
    expect(reader.isAtEnd).toBe(true);
  });

  test('is read again: numbers and bytes', () => {
    const writer = new ByteWriter();

    writer.u8(255);
    writer.i32(-7);
    writer.i64(-(2n ** 63n));
    writer.f64(0.1);
    writer.bytes(Buffer.from('bytes'));
    writer.bytes(null);
    writer.raw(Buffer.from('raw'));

    const reader = new ByteReader(writer.take());
    expect([reader.u8(), reader.i32(), reader.i64(), reader.f64()]).toEqual([
      255,
      -7,
      -(2n ** 63n),
      0.1,
    ]);
    expect(reader.bytes()?.toString()).toBe('bytes');
    expect(reader.bytes()).toBeNull();
    expect(reader.raw(3).toString()).toBe('raw');
    expect(() => reader.raw(1)).toThrow('an encoding holds what it says');
  });

  test('is nobody else’s memory, however large', () => {
    const writer = new ByteWriter();
    const large = Buffer.alloc(3_000_000, 7);

    writer.raw(large);
    const first = writer.take();
    writer.text('next');
    const second = writer.take();

    expect(first.equals(large)).toBe(true);
    expect(new ByteReader(second).text()).toBe('next');
    expect(second.buffer.byteLength).toBe(second.length);
  });

  test('can be taken back, and be told its length afterwards', () => {
    const writer = new ByteWriter();
    writer.text('kept');
    const mark = writer.length;
    writer.text('not kept');
    writer.truncate(mark);

    writer.i32(0);
    writer.raw(Buffer.from('12345'));
    writer.patchLength(mark);

    const reader = new ByteReader(writer.take());
    expect(reader.text()).toBe('kept');
    expect(reader.text()).toBe('12345');
  });
});
