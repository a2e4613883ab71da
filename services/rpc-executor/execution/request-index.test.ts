import { describe, expect, test } from 'vitest';
import { demandSame, RequestIndex } from './request-index.ts';

const call = { kind: 'mutate', method: 'set', payload: Buffer.from('{}') };

describe('the request index', () => {
  test('knows a request while it is under way, and once it is in the log', () => {
    const index = new RequestIndex<string>();
    const request = { call, reply: Promise.resolve('answer') };

    index.add('a', request);
    expect(index.get('a')).toBe(request);
    index.logged('a');
    expect(index.get('a')).toBe('logged');
    expect(index.get('b')).toBeUndefined();
  });

  test('forgets a request that failed, so that it may be tried again', () => {
    const index = new RequestIndex<string>();
    index.add('a', { call, reply: Promise.resolve('') });

    index.failed('a');

    expect(index.get('a')).toBeUndefined();
  });

  test('forgets the oldest above its bound, and says that it is not complete any more', () => {
    const index = new RequestIndex<string>();
    index.load(['0'], true);

    for (let i = 1; i < 9_000; i += 1) {
      index.add(String(i), { call, reply: Promise.resolve('') });
      index.logged(String(i));
    }
    expect(index.isComplete).toBe(true);
    expect(index.get('0')).toBe('logged');
    for (let i = 9_000; i < 12_000; i += 1) {
      index.add(String(i), { call, reply: Promise.resolve('') });
      index.logged(String(i));
    }

    expect(index.isComplete).toBe(false);
    expect(index.get('0')).toBeUndefined();
    expect(index.get('11999')).toBe('logged');
    expect(index.get('7001')).toBe('logged');
  });

  test('holds answers that only it knows up to a bound of bytes', () => {
    const index = new RequestIndex<string>();

    for (let i = 0; i < 9; i += 1) {
      index.add(String(i), { call, reply: Promise.resolve('') });
      index.answered(1_000_000);
    }

    expect(index.get('0')).toBeUndefined();
    expect(index.get('8')).toBeDefined();
  });
});

test('a request id is for one call', () => {
  expect(() => demandSame(call, { ...call })).not.toThrow();
  for (const other of [{ kind: 'execute' }, { method: 'get' }, { payload: Buffer.from('[]') }]) {
    expect(() => demandSame(call, { ...call, ...other })).toThrow('used for another call');
  }
});
