import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import {
  CONTEXT_ID,
  EXECUTOR_ID,
  openJavaScript,
  openScripts,
  TIME_NS,
} from '../../../test/support/javascript.ts';

describe('values', () => {
  const { call } = openJavaScript(`
    export const echo = (value) => value;
    export const kind = ({ value }) => typeof value;
    export const next = ({ value }) => value + 1n;
    export const keys = (value) => [Object.keys(value), Object.getPrototypeOf(value) === Object.prototype];
    export const odd = ({ which }) => ({
      nothing: undefined,
      nan: [NaN, Infinity, -0],
      function: () => 1,
      symbol: Symbol('x'),
      json: { toJSON: () => ({ is: 'this' }) },
      date: new Date(0),
      getter: { get now() { return 7; } },
      proxy: new Proxy({ a: 1 }, { get: (target, key) => target[key] ?? 2 }),
      class: new (class { a = 1; #b = 2; })(),
      map: new Map([[1, 2]]),
      bytes: new Uint8Array([1, 2]),
      huge: 10n ** 30n,
      thenable: { then: (resolve) => resolve('resolved') },
      lone: '\\ud800',
      null: null,
    })[which];
  `);

  test.each([
    ['{"a":[1,"x",null,{"b":true}],"é":"ключ 🎉 \\u0000"}'],
    ['[]'],
    ['"text"'],
    ['-12.5e-7'],
    ['9007199254740991'],
  ])('%s comes back as it went in', (payload) => {
    expect(JSON.parse(call('echo', {}, { payload }).text ?? '')).toEqual(JSON.parse(payload));
  });

  test('integers beyond 2^53 are BigInts and come back exactly', () => {
    const payload =
      '{"value":18446744073709551615,"b":[-9223372036854775808,"12345678901234567890"]}';

    expect(call('echo', {}, { payload }).text).toBe(payload);
    expect(call('kind', {}, { payload }).text).toBe('"bigint"');
    expect(call('kind', {}, { payload: '{"value":9007199254740991}' }).text).toBe('"number"');
    expect(call('kind', {}, { payload: '{"value":1.2345678901234567}' }).text).toBe('"number"');
    expect(call('next', {}, { payload: '{"value":9007199254740993}' }).text).toBe(
      '9007199254740994',
    );
  });

  test('no text is mistaken for an integer, whatever it begins with', () => {
    const payload =
      '{"\\u0001":"\\u00011","a":["\\u0001\\u0001","\\u0001"],"n":12345678901234567890}';

    expect(call('echo', {}, { payload }).text).toBe(payload);
  });

  test('a member named __proto__ is a member', () => {
    expect(call('keys', {}, { payload: '{"__proto__":{"a":1}}' }).text).toBe(
      '[["__proto__"],true]',
    );
  });

  test.each([
    ['nothing', null],
    ['function', null],
    ['symbol', null],
    ['null', 'null'],
    ['nan', '[null,null,0]'],
    ['json', '{"is":"this"}'],
    ['date', '"1970-01-01T00:00:00.000Z"'],
    ['getter', '{"now":7}'],
    ['class', '{"a":1}'],
    ['map', '{}'],
    ['bytes', '{"0":1,"1":2}'],
    ['huge', '1000000000000000000000000000000'],
    ['thenable', '"resolved"'],
    ['lone', '"\\ud800"'],
    ['proxy', '{"a":1}'],
  ])('%s is returned as JSON.stringify has it: %s', (which, text) => {
    expect(call('odd', { which })).toMatchObject({ status: 'ok', text });
  });

  test('without arguments a method gets undefined', () => {
    expect(call('echo', {}, { payload: '' })).toMatchObject({ status: 'ok', text: null });
  });

  test.each(['nope', '{"a":', '\u0001"a"'])('arguments that are not JSON fail: %j', (payload) => {
    expect(call('echo', {}, { payload }).error).toBe('deserialization error');
  });
});

describe('the world of an application', () => {
  const { call, state } = openJavaScript(`
    import { storage, emit, log, contextId, executorId, timeNs, randomBytes } from 'cairn';
    export const put = ({ key, value }) => storage.set(key, value);
    export const take = ({ key }) => storage.getText(key);
    export const drop = ({ key }) => storage.remove(key);
    export const putJson = ({ key, value }) => storage.setJson(key, value);
    export const takeJson = ({ key }) => storage.getJson(key);
    export const binary = () => {
      const key = new Uint8Array([255, 0, 1]);
      storage.set(key, new Uint8Array([0, 128, 255]).subarray(1));
      return [...storage.get(key)];
    };
    export const missing = () => [storage.get('no'), storage.getText('no'), storage.getJson('no')];
    export const wrong = ({ which }) => ({
      key: () => storage.get(7),
      value: () => storage.set('a', { b: 1 }),
      json: () => storage.setJson('a', undefined),
      notJson: () => (storage.set('a', 'nope'), storage.getJson('a')),
      fake: () => storage.get(Object.create(Uint8Array.prototype)),
    })[which]();
    export const tell = () => {
      emit('Json', { id: 1, big: 2n ** 60n });
      emit('Bytes', new Uint8Array([1, 2, 255]));
      emit('Text', 'text');
      emit('Nothing');
      log('number', 1, { a: [1] }, null, undefined, new TypeError('x'), 'é');
      console.error('console');
    };
    export const who = () => [contextId(), executorId(), timeNs()];
    export const now = () => [Date.now(), new Date().toString(), new Date(2020, 0).getTimezoneOffset()];
    export const draw = () => [[...randomBytes(4)], Math.random(), Math.random()];
    export const text = () => [
      [...new TextEncoder().encode('é\\ud800')],
      new TextDecoder().decode(new Uint8Array([0xc3, 0xa9, 0xff])),
      new TextDecoder('UTF-8').decode(new Uint8Array([65, 66]).buffer),
    ];
    export const many = ({ events = 0, logs = 0, kind = 'k', data = '' }) => {
      for (let i = 0; i < events; i += 1) emit(kind, new TextEncoder().encode(data));
      for (let i = 0; i < logs; i += 1) log(data);
    };
    export const sized = ({ key = 1, value = 1, output = 0 }) => {
      storage.set('k'.repeat(key), new Uint8Array(value));
      return Array(output).fill('x'.repeat(1_048_573));
    };
    export const read = ({ key }) => storage.get('k'.repeat(key));
  `);

  test('storage keeps texts under texts, and sees what a call wrote itself', () => {
    expect(call('put', { key: 'ключ', value: 'é' }).text).toBe('false');
    expect(call('put', { key: 'ключ', value: 'ü' }).text).toBe('true');
    expect(call('take', { key: 'ключ' }).text).toBe('"ü"');
    expect(state.get(keyName('ключ'))).toEqual(new Uint8Array(Buffer.from('ü')));
    expect(call('drop', { key: 'ключ' }).text).toBe('true');
    expect(call('drop', { key: 'ключ' }).text).toBe('false');
    expect(call('take', { key: 'ключ' }).text).toBe('null');
  });

  test('storage keeps JSON with all its integers', () => {
    const payload = '{"key":"j","value":{"id":18446744073709551615,"text":"\\u0001"}}';
    call('putJson', {}, { payload });

    expect(call('takeJson', { key: 'j' }).text).toBe(
      '{"id":18446744073709551615,"text":"\\u0001"}',
    );
  });

  test('storage keeps bytes under bytes', () => {
    expect(call('binary').text).toBe('[128,255]');
    expect(call('missing').text).toBe('[null,null,null]');
  });

  test.each([
    ['key', 'TypeError: a storage key must be a string or a Uint8Array'],
    ['value', 'TypeError: a stored value must be a string or a Uint8Array'],
    ['json', 'TypeError: a stored value must be JSON'],
    ['notJson', 'SyntaxError'],
    ['fake', 'TypeError'],
  ])('a wrong %s is an error of the application', (which, error) => {
    expect(call('wrong', { which }).error).toMatch(`guest panicked: ${error}`);
  });

  test('events carry JSON or bytes, and logs read as on a console', () => {
    const { events, logs } = call('tell');

    expect(events.map(({ kind, data }) => [kind, Buffer.from(data).toString('latin1')])).toEqual([
      ['Json', '{"id":1,"big":1152921504606846976}'],
      ['Bytes', '\u0001\u0002\u00ff'],
      ['Text', '"text"'],
      ['Nothing', ''],
    ]);
    expect(logs).toEqual(['number 1 {"a":[1]} null undefined TypeError: x é', 'console']);
  });

  test('identities, time and time zone are the transaction’s', () => {
    expect(call('who').text).toBe(`["${CONTEXT_ID}","${EXECUTOR_ID}",${TIME_NS}]`);
    expect(call('now').text).toBe('[1700000000123,"Tue Nov 14 2023 22:13:20 GMT+0000",0]');
  });

  test('randomness comes from the seed of the transaction', () => {
    expect(call('draw').text).toBe(call('draw').text);
    expect(call('draw', {}, { seed: 4 }).text).not.toBe(call('draw').text);
  });

  test('texts are encoded and decoded as UTF-8', () => {
    expect(call('text').text).toBe('[[195,169,239,191,189],"é\ufffd","AB"]');
  });

  test.each([
    [{ events: 100, logs: 100 }, null],
    [{ events: 101 }, 'events overflow'],
    [{ logs: 101 }, 'logs overflow'],
    [{ events: 1, kind: 'k'.repeat(101) }, 'event kind size overflow'],
    [{ events: 1, data: 'd'.repeat(16_385) }, 'event data size overflow'],
    [{ logs: 1, data: 'd'.repeat(16_385) }, 'logs overflow'],
  ])('limits of events and logs: %j', (args, error) => {
    expect(call('many', args).error).toBe(error);
  });

  test.each([
    [{ key: 32, value: 10 * 1_048_576 }, null],
    [{ key: 33 }, 'key length overflow'],
    [{ value: 10 * 1_048_576 + 1 }, 'value length overflow'],
    [{ output: 15 }, null],
    [{ output: 17 }, 'value length overflow'],
  ])('limits of storage and output: %j', (args, error) => {
    expect(call('sized', args, { fuelLimit: 20_000_000_000n }).error).toBe(error);
  });

  test('a key that is too long has no value', () => {
    expect(call('read', { key: 33 }).text).toBe('null');
  });

  test.each(['put', 'drop'])('%s in a query is refused, and nothing is left of it', (method) => {
    const refused = call(method, { key: 'a', value: 'b' }, { readOnly: true });

    expect(refused).toMatchObject({ status: 'failed', changes: [] });
    expect(refused.error).toContain('Can not write to read-only store');
  });
});

describe('calls that fail', () => {
  const { call, program } = openJavaScript(
    `import { emit, fail, storage } from 'cairn';
export function thrown() {
  storage.set('a', 'b');
  emit('Kind');
  throw new Error('no such post');
}
export const typed = () => null.x;
export const text = () => { throw 'text'; };
export const object = () => { throw { code: 7 }; };
export const nothing = () => { throw undefined; };
export const hostile = () => { throw new Proxy({}, { get() { throw 1; }, getPrototypeOf() { throw 2; } }); };
export const long = () => { throw new Error('x'.repeat(1e6)); };
export const failed = () => fail({ why: 'no', count: 2n ** 60n });
export const failedEmpty = () => fail();
export const rejected = async () => { await null; throw new RangeError('late'); };
export const pending = () => new Promise(() => {});
export const stray = () => { (async () => { storage.set('half', 'done'); throw new Error('stray'); })(); };
export const handled = () => { const p = Promise.reject(1); return p.catch((x) => x + 1); };
export const handledLate = () => { const p = Promise.reject(1); queueMicrotask(() => p.catch(() => {})); };
export const microtask = () => { queueMicrotask(() => { throw new Error('in a job'); }); };
export const cyclic = () => { const a = {}; a.a = a; return a; };
export const badJson = () => ({ toJSON() { throw new Error('toJSON'); } });
export const later = async ({ x }) => { for (let i = 0; i < 100; i += 1) await null; return x; };
export class NoFunction {}
export const notAFunction = 1;
`,
  );

  test.each([
    ['thrown', 'guest panicked: no such post at application.js:5:13'],
    ['typed', "guest panicked: TypeError: cannot read property 'x' of null at application.js:7:"],
    ['text', 'guest panicked: text'],
    ['object', 'guest panicked: {"code":7}'],
    ['nothing', 'guest panicked: undefined'],
    ['hostile', 'guest panicked: what was thrown cannot be shown'],
    ['rejected', 'guest panicked: RangeError: late at application.js:15:'],
    ['pending', 'guest panicked: the returned promise is never settled'],
    ['stray', 'guest panicked: stray at application.js:17:'],
    ['microtask', 'guest panicked: in a job at application.js:20:'],
    ['cyclic', 'guest panicked: TypeError: circular reference'],
    ['badJson', 'guest panicked: toJSON at application.js:22:'],
    ['NoFunction', 'guest panicked: TypeError'],
    ['nope', 'method "nope" not found'],
    ['notAFunction', 'method "notAFunction" not found'],
    ['toString', 'method "toString" not found'],
    ['__proto__', 'method "__proto__" not found'],
  ])('%s fails as "%s" and leaves nothing', (method, error) => {
    const outcome = call(method);

    expect(outcome.error?.slice(0, error.length)).toBe(error);
    expect(outcome).toMatchObject({ status: 'failed', output: null, events: [], changes: [] });
  });

  test('what is given to fail comes back as the bytes of its JSON', () => {
    const bytes = [...Buffer.from('{"why":"no","count":1152921504606846976}')].join(', ');

    expect(call('failed').error).toBe(`the method call returned an error: [${bytes}]`);
    expect(call('failedEmpty').error).toBe(
      `the method call returned an error: [${[...Buffer.from('null')].join(', ')}]`,
    );
  });

  test('the error text is bounded', () => {
    expect(call('long').error?.length).toBeLessThan(70_000);
  });

  test('promises are waited for, and rejections that are handled are none', () => {
    expect(call('later', { x: 5 }).text).toBe('5');
    expect(call('handled').text).toBe('2');
    expect(call('handledLate')).toMatchObject({ status: 'ok', text: null });
  });

  test('only a method that is not there has not run', () => {
    expect(call('nope').hasRun).toBe(false);
    expect(call('thrown').hasRun).toBe(true);
    expect(program.hasInit).toBe(false);
    expect(openJavaScript('export function init() {}').program.hasInit).toBe(true);
  });
});

describe('an application that cannot be installed says why and where', () => {
  test.each<readonly [string, string]>([
    ['export function a() {\n  let x = ;\n}', "';' at application.js:2:11"],
    ['\n\nexport function a( {}', 'SyntaxError'],
    ["import 'fs'; export function a() {}", 'it imports "fs"; only "cairn" can be imported'],
    ["import './b.js'; export function a() {}", 'it imports "b.js"'],
    ["import { x } from 'cairn'; export function a() {}", "Could not find export 'x'"],
    ['export const a = 1;', 'it exports no function'],
    ['', 'it exports no function'],
    ['<html>404</html>', 'SyntaxError'],
    ["throw new Error('broken'); export function a() {}", 'broken at application.js:1:11'],
    ["await Promise.reject(new Error('late')); export function a() {}", 'late'],
    ['await new Promise(() => {}); export function a() {}', 'never settled'],
    ["storage.set('a', 'b'); export function a() {}", 'set can only be called while a method runs'],
    ['contextId(); export function a() {}', 'contextId can only be called while a method runs'],
    ['(function f() { f(); })(); export function a() {}', 'Maximum call stack size exceeded'],
    ["export function a() {} 'x'.repeat(5e6)".padEnd(4 * 1_048_576 + 1), 'bytes of JavaScript'],
  ])('%#: %s', (source, reason) => {
    expect(() => openJavaScript(source)).toThrow('the application cannot be installed: ');
    expect(() => openJavaScript(source)).toThrow(reason);
  });

  test('bytes that are not UTF-8 are refused', () => {
    expect(() => openJavaScript(Buffer.from([0xff]) as unknown as string)).toThrow('not UTF-8');
  });

  test('what it logs while it loads goes nowhere', () => {
    const { call } = openJavaScript("console.log('loading'); export const a = () => 1;");

    expect(call('a')).toMatchObject({ text: '1', logs: [] });
  });
});

test('what the types promise is what can be imported', () => {
  const types = readFileSync(
    new URL('../../../examples/sdk/javascript/cairn.d.ts', import.meta.url),
    'utf8',
  );
  const promised = [...types.matchAll(/export (?:const|function) (\w+)/g)].map(([, name]) => name);
  const { call } = openJavaScript(
    "import * as cairn from 'cairn'; export const names = () => Object.keys(cairn);",
  );

  expect(new Set(JSON.parse(call('names').text ?? '') as string[])).toEqual(new Set(promised));
});

describe('scripts', () => {
  const run = openScripts();

  test.each([
    ['let x = 10; x * 2', '20'],
    ["if (true) { 'last value' }", '"last value"'],
    ['2n ** 64n', '18446744073709551616'],
    ['await 5', '5'],
    ['(async () => ({ a: 1 }))()', '{"a":1}'],
    ['undefined', null],
    ['', null],
    ['CALLER_ID', `"${EXECUTOR_ID}"`],
    ['CONTEXT_ID', `"${CONTEXT_ID}"`],
    ["CALLER_ID = 'somebody'; CALLER_ID", `"${EXECUTOR_ID}"`],
    ["(await import('cairn')).storage === storage", 'true'],
    ['[typeof invoke, typeof host, typeof methods]', '["undefined","undefined","undefined"]'],
  ])('%s gives %s', (script, text) => {
    expect(run(script)).toMatchObject({ status: 'ok', text });
  });

  test('a script works on the state of its context', () => {
    const written = run(
      "storage.setJson('n', (storage.getJson('n') ?? 0) + 1); emit('Counted', 1)",
    );

    expect(written.events.map(({ kind }) => kind)).toEqual(['Counted']);
    expect(run("storage.getJson('n')").text).toBe('1');
    expect(run("storage.set('n', '2')", { readOnly: true }).error).toContain('read-only store');
  });

  test('nothing of a script is there for the next', () => {
    run('globalThis.left = 1; var alsoLeft = 1; Array.prototype.left = 1; Promise = null');

    expect(run('[typeof left, typeof alsoLeft, typeof [].left, typeof Promise]').text).toBe(
      '["undefined","undefined","undefined","function"]',
    );
  });

  test.each([
    ['1 +', "SyntaxError: unexpected token in expression: '' at script.js:1:4"],
    ['\nmissing()', 'ReferenceError: missing is not defined at script.js:2:1'],
    ["await import('fs')", "ReferenceError: could not load module 'fs'"],
    ["'use strict'; CALLER_ID = 1", "TypeError: 'CALLER_ID' is read-only at script.js:1:"],
    ['await new Promise(() => {})', 'the returned promise is never settled'],
  ])('%s fails as %s', (script, error) => {
    expect(run(script).error).toMatch(`guest panicked: ${error}`);
  });

  test('a script has a size limit', () => {
    expect(run(' '.repeat(4 * 1_048_576 + 1))).toMatchObject({ status: 'failed', hasRun: false });
  });
});

/** Keys of the state are 32 bytes as latin1 text. */
function keyName(key: string): string {
  return Buffer.from(key).toString('latin1').padEnd(32, '\0');
}
