import { describe, expect, test } from 'vitest';
import { type ApplicationId, ZERO_ID } from '#shared/domain/ids.ts';
import { CONTEXT_ID, EXECUTOR_KEY, hostOf, TIME_NS } from '../../../test/support/run-program.ts';
import { compileRhaiProgram, runRhai } from './rhai-program.ts';

function compile(source: string) {
  return compileRhaiProgram(ZERO_ID as ApplicationId, Buffer.from(source));
}

function open(source: string) {
  return hostOf(compile(source));
}

function hostOfScript(script: string) {
  return hostOf({ execute: (input) => runRhai(Buffer.from(script), input) });
}

function evaluate(script: string) {
  return hostOfScript(script).call('');
}

describe('methods', () => {
  test('public functions are methods, and init is optional', () => {
    expect(open('fn f() { 42 }').call('f').output).toBe(42);
    expect(compile('fn f() { 42 }').hasInit).toBe(false);
    expect(compile('fn init() {}').hasInit).toBe(true);
    expect(compile('private fn init() {}').hasInit).toBe(false);
  });

  test.each(['nope', 'hidden', 'anon$', '', '__proto__', 'print', 'load', 'memory'])(
    '"%s" is no method, nothing runs',
    (method) => {
      const host = open('private fn hidden() { 1 } fn f() { || 1 } fn int.on_a_type() { 1 }');

      const { error, hasRun } = host.call(method);

      expect([error, hasRun]).toEqual([`method ${JSON.stringify(method)} not found`, false]);
    },
  );

  test('a closure and a method of a type are no methods of the application', () => {
    const host = open('fn f() { (|| 1).name } fn int.twice() { this * 2 }');
    const closure = String(host.call('f').output);

    expect(closure).toMatch(/^anon\$/);
    expect(host.call(closure).hasRun).toBe(false);
    expect(host.call('twice').hasRun).toBe(false);
  });

  test('arguments are passed by the names of parameters, in any order', () => {
    const host = open('fn join(a, b) { `${a}-${b}` }');

    expect(host.call('join', { b: 2, a: 'x' }).output).toBe('x-2');
  });

  test.each([
    [{ a: 1 }, 'method "join" needs the argument "b"'],
    [{}, 'method "join" needs the argument "a"'],
    [{ a: 1, b: 2, c: 3 }, 'method "join" has no argument "c"'],
    [[1, 2], 'the arguments are not a JSON object'],
    ['text', 'the arguments are not a JSON object'],
    [null, 'method "join" needs the argument "a"'],
  ])('%j is refused', (args, reason) => {
    const { error } = open('fn join(a, b) { a + b }').call('join', args);

    expect(returned(error)).toBe(reason);
  });

  test('arguments that are not JSON are refused with the place of the error', () => {
    const payload = Buffer.from('{"a": nope}');

    expect(returned(open('fn f(a) { a }').call('f', {}, { payload }).error)).toBe(
      'the arguments are not JSON: expected ident at line 1 column 8',
    );
  });

  test('a single parameter "args" takes the arguments whole, whatever they are', () => {
    const host = open('fn whole(args) { args }');

    for (const args of [{ a: [1, { b: null }] }, [1, 'two'], 'text', 7, null, {}]) {
      expect(host.call('whole', args).output).toEqual(args);
    }
    expect(host.call('whole', {}, { payload: new Uint8Array() }).output).toEqual({});
  });

  test('a null argument is given, and is ()', () => {
    expect(open('fn f(a) { a == () }').call('f', { a: null }).output).toBe(true);
  });

  test('of functions with the same name, the one runs that takes what is given', () => {
    const host = open('fn f() { 0 } fn f(a) { 1 } fn f(a, b) { 2 }');

    expect([{}, { a: 1 }, { a: 1, b: 2 }].map((args) => host.call('f', args).output)).toEqual([
      0, 1, 2,
    ]);
    expect(returned(host.call('f', { c: 1 }).error)).toBe('method "f" needs the argument "a"');
  });

  test('numbers keep 64 bits and stay what they are; text is Unicode', () => {
    const payload = Buffer.from(
      '{"args":[9223372036854775807,-9223372036854775808,9007199254740993,1.0,0.1,1e300,"\\ud83d\\ude00\\u0000é"]}',
    );

    expect(open('fn f(args) { args }').call('f', {}, { payload }).text).toBe(
      '{"args":[9223372036854775807,-9223372036854775808,9007199254740993,1.0,0.1,1e+300,"😀\\u0000é"]}',
    );
    expect(
      open('fn f(n) { n + 1 }').call('f', {}, { payload: Buffer.from('{"n":9007199254740993}') })
        .text,
    ).toBe('9007199254740994');
    expect(
      open('fn f(n) { type_of(n) }').call(
        'f',
        {},
        { payload: Buffer.from('{"n":18446744073709551615}') },
      ).output,
    ).toBe('f64');
  });

  test('() is no output; maps come with their keys in order', () => {
    const host = open('fn nothing() { } fn map() { #{z: 1, a: #{y: (), b: 2}} }');

    expect(host.call('nothing').outcome.output).toBeNull();
    expect(host.call('map').text).toBe('{"a":{"b":2,"y":null},"z":1}');
  });

  test.each([
    ['|| 1', 'a Fn has no form in JSON'],
    ['1..2', 'a Range<i64> has no form in JSON'],
    ['0.0 / 0.0', 'NaN has no form in JSON'],
    ['let a = []; for i in 0..200 { a = [a]; } a', 'a value is nested deeper than 127'],
  ])('%s cannot be returned', (body, reason) => {
    expect(open(`fn f() { ${body} }`).call('f').error).toBe(
      `guest panicked: ${reason} at script.rhai:0:0`,
    );
  });

  test('statements outside of functions run before each method, which sees their constants', () => {
    const host = open('const RATE = 3; log("hello"); fn f(n) { n * global::RATE }');

    expect(host.call('f', { n: 5 })).toMatchObject({ output: 15, logs: ['hello'] });
    expect(host.call('f', { n: 6 })).toMatchObject({ output: 18, logs: ['hello'] });
  });
});

describe('what a script can do', () => {
  test('storage keeps blobs, texts and JSON across calls', () => {
    const host = open(`
      fn write() {
        storage::set("blob", blob(2, 255));
        storage::set("text", "é");
        storage::set_json("json", #{ n: 9007199254740993, list: [1, 2.5, ()] });
      }
      fn read() { [storage::get("blob"), storage::get_text("text"), storage::get_json("json").n, storage::get_text("none"), storage::get("none"), storage::get_json("none")] }
      fn forget() { [storage::remove("text"), storage::remove("text"), storage::get("text")] }`);

    const { outcome } = host.call('write');

    expect(outcome.changes.map(({ key }) => Buffer.from(key).toString())).toEqual(
      ['blob', 'json', 'text'].map((key) => key.padEnd(32, '\0')),
    );
    expect(Buffer.from(outcome.changes[1]?.value ?? []).toString()).toBe(
      '{"list":[1,2.5,null],"n":9007199254740993}',
    );
    expect(host.call('read').text).toBe('[[255,255],"é",9007199254740993,null,null,null]');
    expect(host.call('forget').output).toEqual([true, false, null]);
    expect(host.state.size).toBe(2);
  });

  test('a method sees its own writes, and a failed one leaves none', () => {
    const host = open(`
      fn good() { storage::set("a", "1"); storage::get("a").as_string() }
      fn bad() { storage::set("b", "2"); emit("E", 1); throw "no"; }`);

    expect(host.call('good').output).toBe('1');
    expect(host.call('bad').outcome).toMatchObject({ status: 'failed', changes: [], events: [] });
    expect(host.state.size).toBe(1);
  });

  test('events carry JSON, or a blob as it is', () => {
    const { outcome } = open(
      'fn f() { emit("Map", #{b: 1, a: "x"}); emit("Text", "t"); emit("None", ()); emit("Raw", blob(2, 7)); }',
    ).call('f');

    expect(outcome.events.map(({ kind, data }) => [kind, Buffer.from(data).toString()])).toEqual([
      ['Map', '{"a":"x","b":1}'],
      ['Text', '"t"'],
      ['None', 'null'],
      ['Raw', '\u0007\u0007'],
    ]);
  });

  test('log, print and debug write to the log; log of a number is a logarithm', () => {
    const { logs, output } = open('fn f() { log("a"); print(1.5); debug("x"); log(100.0) }').call(
      'f',
    );

    expect(logs).toEqual(['a', '1.5', '"x" (line 1, position 32)']);
    expect(output).toBe(2);
  });

  test('a script knows context, executor and time, and draws the same randomness every time', () => {
    const host = open(
      'fn f() { [context_id(), executor_id(), time_ns()] } fn draw() { [random_bytes(4), random_bytes(0), random_bytes(4)] }',
    );

    expect(host.call('f').text).toBe(`["${CONTEXT_ID}","${EXECUTOR_KEY}",${TIME_NS}]`);
    const drawn = host.call('draw').output as number[][];
    expect(drawn.map((bytes) => bytes.length)).toEqual([4, 0, 4]);
    expect(drawn[0]).not.toEqual(drawn[2]);
    expect(host.call('draw').output).toEqual(drawn);
  });

  test('JSON in texts is read and written', () => {
    const { output } = open(
      'fn f(text) { let v = parse_json(text); [v.a, to_json([v.b, 1.0, "q"])] }',
    ).call('f', { text: '{"a": "\\ud83d\\ude00", "b": [true, null]}' });

    expect(output).toEqual(['😀', '[[true,null],1.0,"q"]']);
  });

  test.each([
    ['storage::set("k", "v")', 'host panicked: not implemented: Can not write to read-only store.'],
    ['storage::remove("k")', 'host panicked: not implemented: Can not write to read-only store.'],
    [
      'try { storage::set("k", "v") } catch { 1 }',
      'host panicked: not implemented: Can not write to read-only store.',
    ],
  ])('%s in a query is refused', (body, error) => {
    expect(open(`fn f() { ${body} }`).call('f', {}, { readOnly: true }).error).toBe(error);
  });

  test.each([
    ['import "other" as other;', /^guest panicked: Too many modules imported/],
    ['timestamp()', /Function not found: timestamp/],
    ['sleep(1)', /an application cannot sleep at script.rhai:1:10/],
    ['sleep(0.5)', /an application cannot sleep/],
    ['random_bytes(-1)', /random_bytes gives 0 to 1048576 bytes, not -1/],
    [
      'storage::get_text("raw")',
      /the value of "raw" is not text: invalid utf-8 .* at script.rhai:1:19/,
    ],
    [
      'storage::get_json("text")',
      /the value of "text" is not JSON: expected ident at line 1 column 2 at script.rhai:1:19/,
    ],
    [
      'storage::set("k", 1)',
      /Function not found: storage::set \(&str \| ImmutableString \| String, i64\)/,
    ],
    ['rand()', /Function not found: rand/],
    ['open_file("x")', /Function not found: open_file/],
  ])('%s reaches nothing', (body, error) => {
    const host = open(
      `fn f() { ${body} } fn seed() { storage::set("text", "not JSON"); storage::set("raw", blob(1, 255)) }`,
    );
    host.call('seed');

    expect(host.call('f').error).toMatch(error);
  });
});

describe('failures', () => {
  test.each([
    ['"no such post"', 'no such post'],
    ['#{ code: 404 }', { code: 404 }],
    ['()', null],
  ])('fail(%s) is the error that the method returns', (value, expected) => {
    const host = open(`
      fn f() { storage::set("k", "v"); helper(); storage::set("k", "w"); }
      fn helper() { try { fail(${value}); } catch { storage::set("caught", "x"); } }`);

    const { error, outcome } = host.call('f');

    expect(returned(error)).toEqual(expected);
    expect(outcome).toMatchObject({ status: 'failed', changes: [], output: null });
  });

  test('fail with what is no JSON says so', () => {
    expect(open('fn f() { fail(|| 1) }').call('f').error).toBe(
      'guest panicked: a Fn has no form in JSON at script.rhai:0:0',
    );
  });

  test.each([
    ['throw "no such post";', 'no such post at script.rhai:2:3'],
    ['throw #{ code: 404, why: "gone" };', '{"code":404,"why":"gone"} at script.rhai:2:3'],
    ['throw 42;', '42 at script.rhai:2:3'],
    ['throw;', 'Runtime error at script.rhai:2:3'],
    ['helper();', 'deep inside at script.rhai:4:17'],
    ['missing(1);', 'Function not found: missing (i64) at script.rhai:2:3'],
    ['nowhere', 'Variable not found: nowhere at script.rhai:2:3'],
    ['[1][7]', 'Array index 7 out of bounds: only 1 element in array at script.rhai:2:7'],
    ['1 / 0', 'Division by zero: 1 / 0 at script.rhai:2:5'],
    ['9223372036854775807 + 1', 'Addition overflow: 9223372036854775807 + 1 at script.rhai:2:23'],
    ['eval("1 +")', 'Syntax error: Script is incomplete at script.rhai:1:4'],
    [
      'let x = 5; x.tag = 9999999999;',
      '9999999999 is too large to fit into a tag (must be between -32768 and 32767) at script.rhai:2:16',
    ],
  ])('%s fails with its place', (body, error) => {
    const { outcome } = open(`fn f() {\n  ${body}\n}\nfn helper() {   throw "deep inside"; }`).call(
      'f',
    );

    expect(outcome).toMatchObject({
      status: 'failed',
      output: null,
      error: `guest panicked: ${error}`,
    });
  });

  test.each([
    ['fn f( {', "line 1, column 7: Expecting ')' to close the parameters list of function 'f'"],
    ['fn f() {\n  let x = ;\n}', "line 2, column 11: Unexpected ';'"],
    ['fn f() { "open', 'line 1, column 10: Open string is not terminated'],
    [
      'fn f() { 1 } fn f() { 2 }',
      'line 1, column 14: Function f with no parameters already exists',
    ],
    [
      `fn f() { ${'('.repeat(500)}1${')'.repeat(500)} }`,
      'column 72: Expression exceeds maximum complexity',
    ],
    [
      Array.from({ length: 1_025 }, (_, i) => `fn f${i}() {}`).join('\n'),
      'line 1025, column 1: Number of functions defined exceeds maximum limit',
    ],
  ])('a script that cannot be parsed cannot be installed: %.30s', (source, reason) => {
    expect(() => compile(source)).toThrow(reason);
    expect(() => compile(source)).toThrow(/^the application cannot be installed: /);
  });

  test('what is no text, or too long, cannot be installed', () => {
    const bytes = Uint8Array.from([0x66, 0x6e, 0xff, 0xfe]);

    expect(() => compileRhaiProgram(ZERO_ID as ApplicationId, bytes)).toThrow(/not UTF-8/);
    expect(() => compile('/'.repeat(4_194_305))).toThrow(/4194305 bytes, more than 4194304/);
  });

  test('a byte order mark is no part of the script', () => {
    expect(open('\uFEFFfn f() { 1 }').call('f').output).toBe(1);
  });
});

describe('limits', () => {
  test.each([
    ['recursion', 'fn f() { f() }', 'guest panicked: Stack overflow at script.rhai:0:0'],
    ['a loop without end', 'fn f() { loop { } }', 'out of fuel'],
    [
      'recursion through closures',
      'fn f() { [1].map(|x| f()) }',
      /^guest panicked: Stack overflow/,
    ],
    [
      'recursion in deep expressions',
      `fn f() { ${'(1 + '.repeat(30)}f()${')'.repeat(30)} }`,
      'stack overflow',
    ],
    ['recursion through eval', 'fn f() { eval("f()") }', /^guest panicked: Stack overflow/],
    [
      'a text that doubles',
      'fn f() { let s = "x"; loop { s += s; } }',
      /^guest panicked: out of memory/,
    ],
    ['a text of a gigabyte', 'fn f() { "x".pad(1000000000, "y") }', 'out of fuel'],
    [
      'an array that doubles',
      'fn f() { let a = [1]; loop { a += a; } }',
      /^guest panicked: out of memory/,
    ],
    [
      'an array of many zeros',
      'fn f() { let a = []; a.pad(100000000, 0); }',
      /^guest panicked: (out of memory|capacity overflow)/,
    ],
    ['a blob of a gigabyte', 'fn f() { blob(1000000000) }', /^guest panicked: out of memory/],
    [
      'a blob beyond all memory',
      'fn f() { blob(9223372036854775807) }',
      /^guest panicked: capacity overflow at .*library/,
    ],
    [
      'variables',
      'fn f() { let s = ""; for i in 0..1100 { s += `let v${i} = 1;`; } eval(s) }',
      /^guest panicked: Too many variables defined/,
    ],
    ['logs', 'fn f() { loop { log("x"); } }', 'logs overflow'],
    ['events', 'fn f() { loop { emit("E", 1); } }', 'events overflow'],
    [
      'a large event',
      'fn f() { let s = ""; s.pad(20000, "x"); emit("E", s); }',
      'event data size overflow',
    ],
    [
      'a long key',
      'fn f() { storage::set("123456789012345678901234567890123", "x"); }',
      'key length overflow',
    ],
    ['a large value', 'fn f() { storage::set("k", blob(10485761)); }', 'value length overflow'],
    [
      'many writes',
      'fn f() { let v = blob(1000000); let i = 0; loop { storage::set(`${i}`, v); i += 1; } }',
      'writes overflow',
    ],
    ['a large output', 'fn f() { blob(9000000, 100) }', /^guest panicked: out of memory/],
    [
      'a large error',
      'fn f() { let s = ""; s.pad(500000, "x"); throw s; }',
      /^guest panicked: x+$/,
    ],
  ])('%s has an end, and the next call works', (_name, source, error) => {
    const host = open(`${source} fn fine() { 7 }`);

    const { outcome } = host.call('f');

    if (typeof error === 'string') expect(outcome.error).toBe(error);
    else expect(outcome.error).toMatch(error);
    expect(outcome).toMatchObject({ status: 'failed', changes: [], events: [] });
    expect(host.call('fine').output).toBe(7);
  });

  test('a key of 33 bytes is never there', () => {
    expect(evaluate('storage::get("123456789012345678901234567890123")').output).toBeNull();
  });
});

describe('one-off scripts', () => {
  test('CALLER_ID and CONTEXT_ID are constants, and the last expression is the output', () => {
    const script = 'print(CALLER_ID); let x = 10; [x * 2, CALLER_ID, CONTEXT_ID]';

    expect(evaluate(script)).toMatchObject({
      output: [20, EXECUTOR_KEY, CONTEXT_ID],
      logs: [EXECUTOR_KEY],
    });
    expect(evaluate('CALLER_ID = "me"').error).toMatch(/Cannot modify constant CALLER_ID/);
  });

  test('a script works on the state of its context', () => {
    const host = hostOfScript(
      'let n = (storage::get_json("n") ?? 0) + 1; storage::set_json("n", n); emit("N", n); n',
    );

    expect([host.call('').output, host.call('').output]).toEqual([1, 2]);
    expect(host.call('', {}, { readOnly: true }).error).toMatch(/read-only/);
  });

  test('an error of syntax is an outcome', () => {
    const { outcome, hasRun } = evaluate('let x =\n;');

    expect(outcome.error).toBe("guest panicked: Syntax error: Unexpected ';' at script.rhai:2:1");
    expect(hasRun).toBe(true);
  });

  test('functions of a script are its own, and gone afterwards', () => {
    expect(evaluate('fn f() { 5 } f()').output).toBe(5);
    expect(evaluate('f()').error).toMatch(/Function not found: f/);
  });

  test('what is no text, or too long, is refused', () => {
    const host = (script: Uint8Array) => hostOf({ execute: (input) => runRhai(script, input) });

    expect(host(Uint8Array.from([0x31, 0xff])).call('').error).toMatch(/Syntax error/);
    expect(host(new Uint8Array(4_194_305)).call('')).toMatchObject({
      error: 'the script has more than 4194304 bytes',
      hasRun: false,
    });
  });
});

const EVERYTHING = `
  fn init() { storage::set_json("runs", 0); }
  fn run(args) {
    let seen = #{};
    for word in ["pear", "apple", "fig", "apple", "kiwi"] { seen[word] = (seen[word] ?? 0) + 1; }
    let add = |n| n + seen.apple;
    let text = "";
    for k in seen.keys() { text += k + ";"; }
    storage::set_json("runs", storage::get_json("runs") + 1);
    storage::set("random", random_bytes(16));
    emit("Ran", #{ seen: seen, root: sqrt(2.0), sine: sin(1.0), power: 2.0 ** 0.3, time: time_ns() });
    [text, add.call(1), (0.1 + 0.2).to_string(), seen, args, type_of(add), storage::get_json("runs")]
  }`;

describe('an execution is a function of its inputs', () => {
  test('ten fresh engines give the same output, diff and events', () => {
    const results = Array.from({ length: 10 }, () => {
      const host = open(EVERYTHING);
      return [host.call('init').outcome, host.call('run', { a: [1, 2] }).outcome];
    });

    expect(new Set(results.map((result) => inspect(result))).size).toBe(1);
    expect(results[0]?.[1]).toMatchObject({ status: 'ok', error: null });
  });

  test.each([
    ['a small script', ''],
    [
      'a large one',
      Array.from({ length: 1_000 }, (_, i) => `fn f${i}() { [${'1, '.repeat(60)}] }`),
    ],
  ])('nothing of a call of %s is left for the next, whatever came of it', (_name, more) => {
    const source = `${EVERYTHING}
      ${[more].flat().join('\n')}
      fn trap() { ${'(1 + '.repeat(30)}trap()${')'.repeat(30)} }
      fn grow() { let s = "x"; for i in 0..22 { s += s; } s.len }
      fn fail() { throw "no"; }`;
    const used = open(source);
    const expected = inspect(open(source).call('run', { a: 1 }).outcome);

    for (const method of ['trap', 'grow', 'fail', 'run', 'grow', 'trap']) {
      used.call(method, method === 'run' ? { a: 1 } : {});
      used.state.clear();
      expect(inspect(used.call('run', { a: 1 }).outcome)).toBe(expected);
      used.state.clear();
    }
  });
});

/** Everything of an outcome as text, large numbers and bytes too. */
function inspect(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) => {
    if (typeof part === 'bigint') return `${part}n`;
    return part instanceof Uint8Array ? Buffer.from(part).toString('hex') : part;
  });
}

/** What a method returned as its error: the dialect has the bytes of its JSON. */
function returned(error: string | null): unknown {
  const bytes = /^the method call returned an error: \[([\d, ]*)\]$/.exec(error ?? '')?.[1];
  if (bytes === undefined) throw new Error(`no returned error: ${error}`);
  return JSON.parse(Buffer.from(bytes.split(', ').map(Number)).toString());
}
