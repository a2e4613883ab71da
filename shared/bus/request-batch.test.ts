import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Assembler } from './assembler.ts';
import { Lateness } from './lateness.ts';
import { readMessage, writeMessages } from './request-batch.ts';

const request = (id: number, payload: Uint8Array) =>
  ({ id, kind: 'request', waitMs: 5, payload }) as const;

describe('messages', () => {
  test('hold what fits, in order, and say which entries they carry', () => {
    const entries = Array.from({ length: 10 }, (_, i) => request(i + 1, Buffer.alloc(100, i)));
    const sent: { size: number; first: number; count: number; ids: number[] }[] = [];

    writeMessages(entries, { bytesMax: 400, sentAtMs: 12.5 }, (message, first, count) => {
      const read = readMessage(message);
      expect(read.sentAtMs).toBe(12.5);
      const ids = read.entries.map(({ id }) => id);
      sent.push({ size: message.length, first, count, ids });
    });

    expect(sent.map(({ ids }) => ids)).toEqual([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10]]);
    expect(sent.map(({ first, count }) => [first, count])).toEqual([
      [0, 3],
      [3, 3],
      [6, 3],
      [9, 1],
    ]);
    for (const { size } of sent) expect(size).toBeLessThanOrEqual(400);
  });

  test('carry any payload of any size, whatever a message may hold', () => {
    const payloads = fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 });
    fc.assert(
      fc.property(payloads, fc.integer({ min: 40, max: 400 }), (all, bytesMax) => {
        const assembler = new Assembler();
        const arrived: Uint8Array[] = [];
        const entries = all.map((payload, i) => request(i + 1, payload));

        writeMessages(entries, { bytesMax, sentAtMs: 0 }, (message) => {
          expect(message.length).toBeLessThanOrEqual(bytesMax);
          for (const { id, payload, part } of readMessage(message).entries) {
            const whole = assembler.add(String(id), payload, part, { untilMs: 1, nowMs: 0 });
            if (whole !== null) arrived.push(whole);
          }
        });

        expect(arrived.map((payload) => [...payload])).toEqual(all.map((payload) => [...payload]));
      }),
    );
  });

  test('that nobody of us wrote are refused', () => {
    for (const bytes of ['', '{}', '\u0001\u0000\u0000']) {
      expect(() => readMessage(Buffer.from(bytes))).toThrow();
    }
  });
});

describe('a payload in parts', () => {
  const times = { untilMs: 10, nowMs: 0 };
  const part = (index: number, hasMore: boolean) => ({ index, hasMore });

  test('is never complete when a part is missing', () => {
    const assembler = new Assembler();

    expect(assembler.add('lost first', Buffer.from('b'), part(1, false), times)).toBeNull();
    assembler.add('lost second', Buffer.from('a'), part(0, true), times);
    expect(assembler.add('lost second', Buffer.from('c'), part(2, false), times)).toBeNull();
    assembler.add('begun anew', Buffer.from('x'), part(0, true), times);
    assembler.add('begun anew', Buffer.from('a'), part(0, true), times);
    const whole = assembler.add('begun anew', Buffer.from('b'), part(1, false), times);
    expect(whole?.toString()).toBe('ab');
  });

  test('is forgotten when nobody waits for it any more, or too much is incomplete', () => {
    const assembler = new Assembler();
    const late = { untilMs: 10, nowMs: 11 };

    assembler.add('old', Buffer.from('a'), part(0, true), times);
    assembler.add('new', Buffer.from('a'), part(0, true), late);
    expect(assembler.add('old', Buffer.from('b'), part(1, false), late)).toBeNull();

    const large = new Uint8Array(50_000_000);
    for (const key of ['1', '2', '3']) assembler.add(key, large, part(0, true), times);
    expect(assembler.add('1', Buffer.from('b'), part(1, false), times)).toBeNull();
    expect(assembler.add('3', Buffer.from('b'), part(1, false), times)).toHaveLength(50_000_001);
  });
});

describe('lateness', () => {
  const OFFSET_MS = 3_600_000;

  test('is what a message took longer than the fastest, whatever the clocks say', () => {
    const lateness = new Lateness(0, OFFSET_MS);

    expect(lateness.of(10, OFFSET_MS + 10)).toBe(0);
    expect(lateness.of(20, OFFSET_MS + 30_020)).toBe(30_000);
    expect(lateness.of(30_000, OFFSET_MS + 29_995)).toBe(0);
    expect(lateness.of(30_001, OFFSET_MS + 30_001)).toBe(5);
  });

  test('follows clocks that drift apart slowly', () => {
    const lateness = new Lateness(0, 0);

    let late = 0;
    for (let ms = 0; ms < 86_400_000; ms += 10_000) late = lateness.of(ms, ms * 1.0005);

    expect(late).toBeLessThan(100);
  });
});
