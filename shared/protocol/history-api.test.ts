import { expect, test } from 'vitest';
import { bytesOrNull, keyAnswer, limitOf, stateQuerySchema } from './history-api.ts';

test('bytes are shown as they are, and as JSON or text where they are that', () => {
  const shown = (text: string) => bytesOrNull(Buffer.from(text));
  expect(bytesOrNull(null)).toBeNull();
  expect(shown('{"a":[1]}')).toEqual({ base64: 'eyJhIjpbMV19', json: { a: [1] } });
  expect(shown('a\nb')).toEqual({ base64: 'YQpi', text: 'a\nb' });
  expect(shown('')).toEqual({ base64: '', text: '' });
  expect(shown('a\0')).toEqual({ base64: 'YQA=' });
  expect(bytesOrNull(Uint8Array.of(0xff, 0xfe))).toEqual({ base64: '//4=' });
  expect(shown(' '.repeat(70_000))).not.toHaveProperty('text');
});

test('JSON that is nested so deep that it could not be written is a text', () => {
  const deep = `${'['.repeat(30_000)}${']'.repeat(30_000)}`;
  expect(bytesOrNull(Buffer.from(deep))).toEqual({
    base64: Buffer.from(deep).toString('base64'),
    text: deep,
  });
  const shallow = `${'['.repeat(32)}${']'.repeat(32)}`;
  expect(bytesOrNull(Buffer.from(shallow))).toHaveProperty('json');
});

test('a key is hex, and its name where it has one', () => {
  const key = 'count'.padEnd(32, '\0');
  expect(keyAnswer(key)).toEqual({
    key: Buffer.from(key, 'latin1').toString('hex'),
    keyText: 'count',
  });
  expect(keyAnswer('\0'.repeat(32))).toEqual({ key: '00'.repeat(32) });
  expect(keyAnswer('\u00ff'.repeat(32))).toEqual({ key: 'ff'.repeat(32) });
});

test('keys of a query are read as the bytes that they stand for', () => {
  const after = 'ff'.repeat(32);
  expect(stateQuerySchema.parse({ at: '7', prefix: '6b', after, limit: '5' })).toEqual({
    at: 7n,
    prefix: 'k',
    after: '\u00ff'.repeat(32),
    limit: 5,
  });
  expect([limitOf(undefined, 100), limitOf(5, 100), limitOf(50_000, 100)]).toEqual([
    100, 5, 10_000,
  ]);
});
