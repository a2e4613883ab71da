import { describe, expect, test } from 'vitest';
import { openJavaScript, openScripts } from '../../../test/support/javascript.ts';
import { refuseOtherBinary } from './quickjs-module.ts';

describe('an execution sees nothing of those before it', () => {
  const SOURCE = `
    let count = 0;
    const cache = new Map();
    export const variables = () => { cache.set('k', 1); return [++count, cache.size]; };
    export const globals = () => { const was = typeof left; globalThis.left = 1; return was; };
    export const prototypes = () => {
      const was = [typeof [].left, typeof {}.left, String(JSON.stringify), 1 + 1n ** 0n === 2n];
      Array.prototype.left = Object.prototype.left = () => 1;
      JSON.stringify = () => 'polluted';
      return was;
    };
    export const promises = () => {
      const was = typeof Promise.prototype.then.left;
      Promise.prototype.then.left = 1;
      Promise.prototype.then = () => { throw new Error('polluted'); };
      return was;
    };
    export const jobs = async () => {
      const was = typeof globalThis.fromJob;
      (async () => { for (;;) { await null; globalThis.fromJob = 1; break; } })();
      return was;
    };
    export const memory = () => {
      globalThis.kept = new Uint8Array(20e6).fill(7);
      return new Uint8Array(1000).reduce((sum, byte) => sum + byte, 0);
    };
    export const random = () => [Math.random(), [...randomBytes(3)]];
    export const clock = () => { const was = Date.now(); Date.now = () => 0; return was; };
    export const sdk = () => { const was = storage.get('a'); storage.get = () => 1; return was; };
    export const broken = () => { globalThis.left = 1; count = 99; throw new Error('broken'); };
    export const faulty = () => { count = 99; storage.set('k'.repeat(33), ''); };
    export const deep = () => { count = 99; (function f() { f(); })(); };
    export const nested = () => { count = 99; JSON.parse('['.repeat(1e5)); };
    export const endless = () => { count = 99; for (;;); };
  `;
  const METHODS = ['variables', 'globals', 'prototypes', 'promises', 'jobs', 'memory', 'random'];
  const MORE = ['clock', 'sdk', 'broken', 'faulty', 'deep', 'nested', 'endless'];
  const { call } = openJavaScript(SOURCE);
  const other = openJavaScript(`
    globalThis.left = 'other';
    Array.prototype.left = 'other';
    export const other = () => { globalThis.left = 1; return 1; };
  `);

  test.each([...METHODS, ...MORE])('%s, whatever ran before', (method) => {
    const little = { fuelLimit: 50_000_000n };
    const { text, error, fuelUsed } = openJavaScript(SOURCE).call(method, {}, little);

    for (const before of [method, 'broken', 'faulty', 'deep', 'nested', 'endless', 'memory']) {
      call(before, {}, little);
      expect(call(method, {}, little)).toMatchObject({ text, error, fuelUsed });
    }
    other.call('other');
    expect(call(method, {}, little)).toMatchObject({ text, error, fuelUsed });
  });

  test('what a method finds is what loading left', () => {
    expect(call('variables').text).toBe('[1,1]');
    expect(call('globals').text).toBe('"undefined"');
    expect(call('jobs').text).toBe('"undefined"');
    expect(other.call('other').text).toBe('1');
  });

  test('applications of different sizes take turns', () => {
    const large = openJavaScript(`
      const table = new Uint8Array(3e6).fill(1);
      export const sum = () => { table[0] = 2; return table[0] + table[2_999_999]; };
    `);
    const huge = openJavaScript(`
      const table = new Uint8Array(9e6).fill(1);
      export const sum = () => { table[0] = 3; return table[0] + table[8_999_999]; };
    `);

    for (let i = 0; i < 3; i += 1) {
      expect(large.call('sum').text).toBe('3');
      expect(huge.call('sum').text).toBe('4');
      expect(call('variables').text).toBe('[1,1]');
    }
  });
});

describe('an execution is the same on every machine', () => {
  test('ten fresh programs give the same outcome, fuel included', () => {
    const outcomes = Array.from({ length: 10 }, () => {
      const { call } = openJavaScript(`
        const loaded = [Math.random(), Date.now(), new Date().toString()];
        export const draw = ({ n }) => {
          const all = [];
          for (let i = 0; i < n; i += 1) all.push(Math.random(), Date.now());
          return [loaded, new Date(), all, [...randomBytes(9)], [3, 1, 2].sort(), /a+b/.exec('xaab')];
        };
      `);
      return call('draw', { n: 50 });
    });

    expect(outcomes[0]?.status).toBe('ok');
    expect(outcomes[0]?.fuelUsed).toBeGreaterThan(0n);
    for (const outcome of outcomes) expect(outcome).toEqual(outcomes[0]);
  });

  test('Math.random gives doubles all over its range', () => {
    const { call } = openJavaScript(`
      export const draw = () => Array.from({ length: 1000 }, () => Math.random());
    `);
    const drawn = JSON.parse(call('draw').text ?? '') as number[];
    const mean = drawn.reduce((sum, value) => sum + value, 0) / drawn.length;

    expect(new Set(drawn).size).toBe(1000);
    expect(drawn.every((value) => value >= 0 && value < 1)).toBe(true);
    expect(Math.abs(mean - 0.5)).toBeLessThan(0.05);
  });

  test.each([
    'WeakRef',
    'FinalizationRegistry',
    'SharedArrayBuffer',
    'Atomics',
    'performance',
    'Intl',
    'WebAssembly',
    'process',
    'require',
    'setTimeout',
    'fetch',
    'gc',
    'std',
    'os',
  ])('there is no %s', (name) => {
    expect(openScripts()(`typeof ${name}`).text).toBe('"undefined"');
  });

  test('another binary is refused with what to do', () => {
    expect(() => refuseOtherBinary(new Uint8Array(8), '/x/quickjs.wasm')).toThrow(
      /^\/x\/quickjs\.wasm has the SHA-256 af5570f5\S+ instead of d4c9375f\S+: .*npm ci/,
    );
  });
});

describe('no script gets around a limit', () => {
  const { call } = openJavaScript(`
    const swallow = (act) => {
      try { act(); } catch (error) { log('caught', error); } finally { log('finally'); }
      storage.set('after', 'the limit');
      return 'went on';
    };
    export const events = () => swallow(() => { for (let i = 0; i < 101; i += 1) emit('k'); });
    export const key = () => swallow(() => storage.set('k'.repeat(33), ''));
    export const promised = () => Promise.resolve().then(() => storage.set('k'.repeat(33), '')).catch(() => 'went on').finally(() => 'went on');
    export const getter = () => ({ get a() { try { storage.set('k'.repeat(33), ''); } catch {} return 1; } });
    export const proxied = () => swallow(() => new Proxy({}, { get: () => storage.set('k'.repeat(33), '') }).x);
    export const write = () => swallow(() => storage.set('a', 'b'));
    export const endless = () => swallow(() => { for (;;); });
    export const jobs = () => { const again = () => queueMicrotask(again); again(); };
    export const regex = () => swallow(() => /(a*)*b/.test('a'.repeat(40)));
    export const giant = () => swallow(() => { for (;;) 'x'.repeat(10e6).indexOf('y'); });
    export const bigint = () => swallow(() => { let x = 3n; for (;;) x *= x; });
    export const sort = () => swallow(() => Array.from({ length: 1e6 }, (_, i) => -i).sort());
    export const nested = () => swallow(() => JSON.parse('['.repeat(1e5)));
    export const getMany = () => swallow(() => { const key = new Uint8Array(5); for (;;) storage.get(key); });
    export const recursion = () => swallow(() => { (function f() { f(); })(); });
    export const memory = () => swallow(() => { const all = []; for (;;) all.push(new Uint8Array(1e5)); });
    export const recurse = () => { (function f() { f(); })(); };
    export const exhaust = () => { globalThis.all = []; for (;;) all.push(new Uint8Array(1e5)); };
  `);

  test.each([
    ['events', 'events overflow'],
    ['key', 'key length overflow'],
    ['promised', 'key length overflow'],
    ['getter', 'key length overflow'],
    ['proxied', 'key length overflow'],
    ['endless', 'out of fuel'],
    ['jobs', 'out of fuel'],
    ['regex', 'out of fuel'],
    ['giant', 'out of fuel'],
    ['bigint', 'out of fuel'],
    ['sort', 'out of fuel'],
    ['getMany', 'out of fuel'],
    ['nested', 'stack overflow'],
  ])('%s ends with "%s", uncaught', (method, error) => {
    expect(call(method)).toMatchObject({ status: 'failed', error, changes: [], logs: [] });
  });

  test('a write in a query cannot be caught either', () => {
    const refused = call('write', {}, { readOnly: true });

    expect(refused.error).toContain('read-only store');
    expect(refused.logs).toEqual([]);
  });

  test.each([
    ['recursion', 'caught RangeError: Maximum call stack size exceeded'],
    ['memory', 'caught InternalError: out of memory'],
  ])(
    '%s is an error of the language: it can be caught, and what was held is free',
    (method, log) => {
      expect(call(method)).toMatchObject({ text: '"went on"', logs: [log, 'finally'] });
    },
  );

  test.each([
    ['recurse', 'RangeError: Maximum call stack size exceeded at application.js:'],
    ['exhaust', 'InternalError: out of memory at application.js:'],
  ])('%s uncaught is a clear error, and the next call is fine', (method, error) => {
    expect(call(method).error).toMatch(`guest panicked: ${error}`);
    expect(call('write').text).toBe('"went on"');
  });

  test('fuel that runs out is used up, and less is not enough', () => {
    const { fuelUsed } = call('write');

    expect(call('endless', {}, { fuelLimit: 5_000_000n }).fuelUsed).toBe(5_000_000n);
    expect(call('write', {}, { fuelLimit: fuelUsed }).status).toBe('ok');
    expect(call('write', {}, { fuelLimit: fuelUsed - 1n }).error).toBe('out of fuel');
  });

  test('loading is bounded too', () => {
    expect(() => openJavaScript('for (;;); export function a() {}')).toThrow('takes too long');
    expect(() => openJavaScript("JSON.parse('['.repeat(1e5)); export function a() {}")).toThrow(
      'calls too deep',
    );
  });
});
