import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeResult, parseJsonRpcBody } from './json-rpc.ts';
import { parseJson, printJson } from './lossless-json.ts';
import { parsePlainJson, printPlainJson } from './plain-json.ts';

const contextId = '4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi';
const BATCH_MAX = 5;
const parse = (body: Uint8Array) => parseJsonRpcBody(body, BATCH_MAX);
const canonical = (text: string): string => printJson(parseJson(text));

test('numbers keep what they are', () => {
  const cases = {
    '18446744073709551615': '18446744073709551615',
    '-9223372036854775808': '-9223372036854775808',
    '18446744073709551616': '1.8446744073709552e19',
    '1.0': '1.0',
    '1e15': '1000000000000000.0',
    '1E+16': '1e16',
    '0.00001': '0.00001',
    '0.000001': '1e-6',
    '-0': '-0.0',
    '-12.50': '-12.5',
    '123456789012345.6': '123456789012345.6',
  };

  for (const [given, expected] of Object.entries(cases)) expect(canonical(given)).toBe(expected);
});

test('keys are sorted by bytes, the last duplicate wins, strings are escaped as serde does', () => {
  expect(canonical('{"b":1, "a":{"z":[ ],"y":null}, "b":2}')).toBe('{"a":{"y":null,"z":[]},"b":2}');
  expect(canonical('{"\u{1f600}":1,"\uffee":2,"__proto__":3,"10":4,"9":5}')).toBe(
    '{"10":4,"9":5,"__proto__":3,"\uffee":2,"\u{1f600}":1}',
  );
  expect(canonical('"\\u0001\\u001f\\/\\b\\u00e9\\ud83d\\ude00\u007f"')).toBe(
    '"\\u0001\\u001f/\\bé\u{1f600}\u007f"',
  );
});

test('what is not JSON is an error that says where', () => {
  const texts = [
    '',
    '{',
    '[1,]',
    '01',
    '1 2',
    '"\\ud800"',
    '"\n"',
    'nul',
    '1e999',
    '{"a" 1}',
    '+1',
  ];

  for (const text of texts) expect(() => canonical(text), text).toThrow(/ at line \d+ column \d+$/);
  expect(() => canonical('['.repeat(128) + ']'.repeat(128))).toThrow('recursion limit exceeded');
  expect(canonical('['.repeat(127) + ']'.repeat(127))).toHaveLength(254);
});

test('canonical text is a fixed point and means the same', () => {
  fc.assert(
    fc.property(fc.json({ stringUnit: 'binary' }), (text) => {
      fc.pre(text.isWellFormed() && !/\\ud[89a-f]/i.test(text));
      const once = canonical(text);
      expect(canonical(once)).toBe(once);
      expect(JSON.parse(once)).toEqual(JSON.parse(text));
    }),
  );
});

test('the short way gives what the exact one gives, or leaves it to it', () => {
  const short = (text: string): string | undefined => {
    const value = parsePlainJson(text);
    return value === undefined ? undefined : printPlainJson(value);
  };
  const exact = (text: string): string | undefined => {
    try {
      return canonical(text);
    } catch {
      return undefined;
    }
  };

  for (const text of ['1.0', '1e3', '-0', '1234567890123456', '"\\ud800"', '{"b":1,"a":2}']) {
    expect(short(text), text).toBeUndefined();
  }
  for (const text of [
    '{"a":[1,-5,null],"b":{"c":"é\\n\\\\"}}',
    '123456789012345',
    '"x"',
    ' [ ] ',
  ]) {
    expect(short(text), text).toBe(canonical(text));
  }
  expect(short('['.repeat(101) + ']'.repeat(101))).toBeUndefined();
  expect(short('{"__proto__":1,"toJSON":2}')).toBe('{"__proto__":1,"toJSON":2}');
  fc.assert(
    fc.property(fc.json({ stringUnit: 'binary' }), (text) => {
      expect([undefined, exact(text)]).toContain(short(text));
    }),
  );
  fc.assert(
    fc.property(
      fc.string({ unit: fc.constantFrom(...'{}[]",:\\u0159.eE-+ ab'.split('')) }),
      (text) => {
        expect([undefined, exact(text)]).toContain(short(text));
      },
    ),
  );
});

test('a call is read the same in the short way as in the exact one', () => {
  const params = { contextId, method: 'm', argsJson: { k: 'v' }, requestId: 'r', reportFuel: true };
  const ids = ['7', '"a\\"b"', 'null'];
  for (const id of ids) {
    const fields = `"jsonrpc":"2.0","id":${id},"method":"execute","params":${JSON.stringify(params)}`;

    const short = parse(Buffer.from(`{${fields}}`));
    const exact = parse(Buffer.from(`{"a number that is not plain":1.0,${fields}}`));

    expect(short).toMatchObject({ kind: 'call', id });
    expect(short).toEqual(exact);
  }
});

test('a batch is read entry by entry', () => {
  const call = {
    jsonrpc: '2.0',
    id: 1,
    method: 'query',
    params: { contextId, method: 'm', argsJson: 1 },
  };
  const batch = (...items: unknown[]) => parse(Buffer.from(JSON.stringify(items)));

  expect(batch(call, { ...call, id: 2 })).toMatchObject({
    kind: 'batch',
    requests: [
      { kind: 'call', id: '1' },
      { kind: 'call', id: '2' },
    ],
  });
  expect(batch(call, 7, { ...call, id: 'x', method: 'nope' }, [])).toMatchObject({
    kind: 'batch',
    requests: [
      { kind: 'call', id: '1' },
      { kind: 'error', id: 'null', error: { type: 'ParseError' } },
      { kind: 'error', id: '"x"', error: { type: 'ParseError' } },
      { kind: 'error', id: 'null', error: { type: 'ParseError' } },
    ],
  });
  expect(batch(...Array.from({ length: BATCH_MAX }, () => call))).toMatchObject({ kind: 'batch' });
  expect(batch(...Array.from({ length: BATCH_MAX + 1 }, () => call))).toEqual({
    kind: 'malformed',
    status: 413,
    text: 'a batch has up to 5 requests, not 6',
  });
});

test('a call is read with its id, arguments and executor as they are', () => {
  const body = `{"jsonrpc":"2.0","id":18446744073709551615,"method":"mutate","params":{
    "contextId":"${contextId}","method":"set","argsJson":{"v":18446744073709551615,"k":"x"}}}`;

  const parsed = parse(Buffer.from(body));

  expect(parsed).toMatchObject({
    kind: 'call',
    id: '18446744073709551615',
    method: 'mutate',
    params: { contextId, method: 'set', executorPublicKey: null, requestId: null },
  });
  if (parsed.kind !== 'call') throw new Error('not a call');
  expect(Buffer.from(parsed.params.payload).toString()).toBe('{"k":"x","v":18446744073709551615}');
});

test('each kind of bad request has its own answer', () => {
  const params = { contextId, method: 'm', argsJson: {} };
  const call = (fields: object) =>
    parse(
      Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 'a', method: 'query', params, ...fields })),
    );

  expect(parse(Buffer.from('{nope'))).toMatchObject({ status: 400 });
  expect(parse(Buffer.from([0x22, 0xff, 0x22]))).toMatchObject({ status: 400 });
  expect(parse(Buffer.from('[]'))).toMatchObject({ status: 422 });
  expect(parse(Buffer.from('5'))).toMatchObject({ status: 422 });
  for (const fields of [{ jsonrpc: '1.0' }, { id: -1 }, { id: 1.5 }, { id: {} }]) {
    expect(call(fields)).toMatchObject({ kind: 'malformed', status: 422 });
  }
  expect(call({ method: 'x' })).toMatchObject({
    id: '"a"',
    error: {
      type: 'ParseError',
      data: 'unknown variant `x`, expected one of `query`, `mutate`, `execute`, `play`',
    },
  });
  expect(call({ params: { method: 'm', argsJson: {} } })).toMatchObject({
    error: { data: 'missing field `contextId`' },
  });
  expect(call({ params: { ...params, contextId: 'abc' } })).toMatchObject({
    error: { data: 'invalid length 3, expected a base58 encoded hash' },
  });
  expect(call({ params: { ...params, method: 5 } })).toMatchObject({
    error: { data: 'invalid type: integer `5`, expected a string for `method`' },
  });
});

test('the output of a guest is embedded as it is, or said not to be JSON', () => {
  const left = { sequence: null, hash: null, fuelUsed: null };

  expect(encodeResult('7', Buffer.from('{"v":18446744073709551615}'), left)).toBe(
    '{"jsonrpc":"2.0","id":7,"result":{"output":{"v":18446744073709551615}}}',
  );
  expect(encodeResult('null', null, left)).toBe(
    '{"jsonrpc":"2.0","id":null,"result":{"output":null}}',
  );
  expect(encodeResult('7', Buffer.from('1'), { ...left, fuelUsed: 5n })).toBe(
    '{"jsonrpc":"2.0","id":7,"result":{"output":1,"fuelUsed":"5"}}',
  );
  expect(encodeResult('7', Buffer.from('nope'), left)).toContain('"type":"SerdeError"');
  expect(encodeResult('7', Buffer.from([0xff]), left)).toContain('"type":"SerdeError"');
});
