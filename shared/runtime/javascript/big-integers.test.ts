import fc from 'fast-check';
import { expect, test } from 'vitest';
import { openJavaScript } from '../../../test/support/javascript.ts';

const { call } = openJavaScript('export const echo = (value) => value;');

const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.constantFrom('\u0001', '"', '\\', ':', ' ', '1', '\n', 'é') }),
);
const integers = fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n });
const json = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    integers.map(String),
    texts.map((text) => JSON.stringify(text)),
    fc.constantFrom('true', 'false', 'null', '0.12345678901234566', '1.5e-7'),
    fc.array(tie('value')).map((items) => `[${items.join(',')}]`),
    fc
      .uniqueArray(fc.tuple(texts, tie('value')), { selector: ([key]) => key })
      .map((members) => members.filter(([key]) => !/^\d+$/.test(key)))
      .map((members) => members.map(([key, value]) => `${JSON.stringify(key)}:${value}`))
      .map((members) => `{${members.join(',')}}`),
  ),
})).value;

test('any JSON comes back from a script as it went in, its integers exact', () => {
  fc.assert(
    fc.property(json, (payload) => {
      expect(call('echo', {}, { payload }).text).toBe(payload);
    }),
    { numRuns: 500 },
  );
});

const fragments = fc.constantFrom(
  '"',
  '\\',
  '\\u0001',
  '\u0001',
  ':',
  ',',
  '{',
  '}',
  '[',
  ']',
  ' ',
  '-',
  '.',
  'e',
  '1',
  'null',
  '12345678901234567890',
);

test('what is not JSON does not become JSON', () => {
  fc.assert(
    fc.property(fc.array(fragments, { maxLength: 8 }), (parts) => {
      const payload = `${parts.join('')} `;
      const { error } = call('echo', {}, { payload });
      expect(error).toBe(isJson(payload) ? null : 'deserialization error');
    }),
    { numRuns: 2_000 },
  );
});

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
