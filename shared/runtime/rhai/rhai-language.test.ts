import { describe, expect, test } from 'vitest';
import { hostOf } from '../../../test/support/run-program.ts';
import { runRhai } from './rhai-program.ts';

/** A script, and the JSON of what its last expression gives. */
type Example = readonly [script: string, value: unknown];

const CHAPTERS: Readonly<Record<string, readonly Example[]>> = {
  'comments and statements': [
    ['/* one /* nested */ still */ 1 // the rest', 1],
    ['let x = { let y = 20; y + 2 }; x', 22],
    ['let x = 1; ;;; x += 1; x', 2],
    ['/// Says hello.\nfn greet() { "hello" }\ngreet()', 'hello'],
    ['{ 5; }', 5],
    ['let x = 5;', null],
  ],
  'values and their types': [
    [
      '[1, 1.5, true, \'c\', "s", (), [1], #{}, blob(1), 1..2, 1..=2, || 1].map(|v| type_of(v))',
      [
        'i64',
        'f64',
        'bool',
        'char',
        'string',
        '()',
        'array',
        'map',
        'blob',
        'range',
        'range=',
        'Fn',
      ],
    ],
    ['let x = 1; x = "now a text"; x', 'now a text'],
    ['let x = 42; x.tag = 7; [x, x.tag]', [42, 7]],
    ['() == ()', true],
    ['[1 == 1.0, "1" == 1, \'a\' == "a"]', [true, false, true]],
  ],
  'whole numbers': [
    ['[0xff, 0o17, 0b1010, 1_000_000, -5]', [255, 15, 10, 1_000_000, -5]],
    [
      '[7 + 2, 7 - 2, 7 * 2, 7 / 2, 7 % 2, 2 ** 10, -7 / 2, -7 % 3]',
      [9, 5, 14, 3, 1, 1024, -3, -1],
    ],
    ['[6 & 3, 6 | 3, 6 ^ 3, 1 << 4, 256 >> 4, -16 >> 2]', [2, 7, 5, 16, 16, -4]],
    [
      '[(-3).abs(), 3.sign(), (-3).sign(), 4.is_even(), 4.is_odd(), 0.is_zero()]',
      [3, 1, -1, true, false, true],
    ],
    [
      '[min(3, 1), max(3, 1), "42".parse_int(), parse_int("ff", 16), 255.to_hex(), 5.to_binary(), 8.to_octal()]',
      [1, 3, 42, 255, 'ff', '101', '10'],
    ],
    ['let x = 5; x += 3; x *= 2; x -= 1; x /= 3; x %= 4; x <<= 3; x |= 1; x', 9],
  ],
  'floating point': [
    [
      '[1.5 + 1, 2.0 * 3, 1e3, 1.0 / 4.0, 7.5 % 2.0, 2.0 ** 0.5 > 1.41]',
      [2.5, 6, 1000, 0.25, 1.5, true],
    ],
    [
      '[3.7.floor(), 3.2.ceiling(), 3.5.round(), 3.7.int(), 3.25.fraction(), 3.9.to_int(), 3.to_float()]',
      [3, 4, 4, 3, 0.25, 3, 3],
    ],
    [
      '[sqrt(16.0), exp(0.0), ln(E()), log(100.0), log(8.0, 2.0), hypot(3.0, 4.0)]',
      [4, 1, 1, 2, 3, 5],
    ],
    ['[sin(0.0), cos(0.0), atan(1.0) * 4.0 == PI()]', [0, 1, true]],
    [
      '[(0.0 / 0.0).is_nan(), (1.0 / 0.0).is_infinite(), 1.0.is_finite(), 3.14159.to_string(), "2.5".parse_float()]',
      [true, true, true, '3.14159', 2.5],
    ],
    ['[1.5.min(2), 3.max(2.5)]', [1.5, 3]],
  ],
  'bit-fields': [
    ['let x = 0; x[3] = true; [x, x[3], x[0], x[-1]]', [8, true, false, false]],
    ['let x = 0b1101_0110; [x[1..5], x[4..=7], x.get_bits(0, 4), x.get_bit(2)]', [11, 13, 6, true]],
    ['let x = 0; x.set_bits(4, 4, 9); x[0..=1] = 3; x', 147],
    [
      'let bits = []; for (bit, i) in bits(0b101, 0, 3) { bits.push([i, bit]); } bits',
      [
        [0, true],
        [1, false],
        [2, true],
      ],
    ],
  ],
  'logic and comparison': [
    [
      '[true && false, true || false, !true, true ^ true, 3 > 2, 2 >= 2, 1 != 2]',
      [false, true, false, false, true, true, true],
    ],
    [
      'let calls = 0; let f = || { calls += 1; true }; false && f.call(); true || f.call(); calls',
      0,
    ],
    [
      '["a" < "b", \'a\' < \'b\', [1, 2] == [1, 2], #{a: 1} == #{a: 1}, #{a: 1} == #{a: 2}]',
      [true, true, true, true, false],
    ],
    ['let x = (); [x ?? "default", 0 ?? 1]', ['default', 0]],
    ['let m = #{a: #{b: 1}}; [m?.a?.b, m?.x?.y, m.x?.y?.z]', [1, null, null]],
    ['let a = (); a?[0]', null],
    [
      '[3 in [1, 2, 3], "ell" in "hello", \'z\' in "hello", "a" in #{a: 1}, 5 in 0..5, 5 in 0..=5, 4 !in [4]]',
      [true, true, false, true, false, true, false],
    ],
  ],
  'strings and characters': [
    ['"tab\\there, \\u0416, \\x41, \\U0001F600"', 'tab\there, Ж, A, 😀'],
    ['"one \\\nline"', 'one line'],
    ['`two\nlines and a "quote"`', 'two\nlines and a "quote"'],
    ['#"no \\n escape"#', 'no \\n escape'],
    [
      'let name = "Ada"; let n = 3; `${name} has ${n + 1} ${if n > 1 { "cats" } else { "cat" }}`',
      'Ada has 4 cats',
    ],
    ['"a" + 1 + \'c\' + true + 2.5 + ()', 'a1ctrue2.5'],
    [
      'let s = "héllo"; [s.len, s.bytes, s[1], s[-1], s[1..3], s[..2], s[3..]]',
      [5, 6, 'é', 'o', 'él', 'hé', 'lo'],
    ],
    ['let s = "hallo"; s[1] = \'e\'; s += "!"; s', 'hello!'],
  ],
  'functions of strings': [
    [
      '["  a ".is_empty(), "Ab".to_upper(), "Ab".to_lower(), "hello".contains("ell"), "hello".starts_with("he"), "hello".ends_with("lo")]',
      [false, 'AB', 'ab', true, true, true],
    ],
    ['let s = "  a b "; s.trim(); s', 'a b'],
    [
      '["hello".index_of("l"), "hello".index_of(\'l\', 3), "hello".index_of("z"), "hello".sub_string(1, 3), "hello".sub_string(-2)]',
      [2, 3, -1, 'ell', 'lo'],
    ],
    [
      '["a,b,,c".split(","), "a b  c".split(), "a-b-c".split("-", 2), "abc".split(1), "a,b".split_rev(",")]',
      [
        ['a', 'b', '', 'c'],
        ['a', 'b', 'c'],
        ['a', 'b-c'],
        ['a', 'bc'],
        ['b', 'a'],
      ],
    ],
    [
      'let s = "banana"; s.replace("an", "AN"); s.crop(1, 4); [s, s.pop(), s]',
      ['ANAN', 'N', 'ANA'],
    ],
    ['let s = "7"; s.pad(3, "."); s.append("!"); s.set(0, \'8\'); s.truncate(4); s', '8..!'],
    ['let s = ""; for c in "añ😀" { s = c.to_string() + s; } s', '😀ña'],
    ['let out = []; for c in "abcd".chars(1, 2) { out.push(c); } out', ['b', 'c']],
    ["['a'.to_int(), 'q'.to_upper(), 'Q'.to_lower()]", [97, 'Q', 'q']],
  ],
  arrays: [
    [
      'let a = [1, "two", [3]]; [a.len, a[1], a[-1][0], a.extract(0..2), [1, 2] + [3]]',
      [3, 'two', 3, [1, 'two'], [1, 2, 3]],
    ],
    [
      'let a = [1, 2]; a.push(3); a += 4; a.insert(0, 0); [a, a.pop(), a.shift(), a.remove(1), a]',
      [[0, 1, 2, 3, 4], 4, 0, 2, [1, 3]],
    ],
    [
      'let a = [5, 3, 8]; a.sort(); let b = a; b.reverse(); let c = a; c.sort(|x, y| y - x); [a, b, c]',
      [
        [3, 5, 8],
        [8, 5, 3],
        [8, 5, 3],
      ],
    ],
    [
      'let a = [1, 2, 3, 4, 5]; [a.filter(|v| v % 2 == 1), a.map(|v, i| v * i), a.reduce(|sum, v| sum + v, 0), a.reduce_rev(|sum, v| (sum ?? "") + v)]',
      [[1, 3, 5], [0, 2, 6, 12, 20], 15, '54321'],
    ],
    [
      'let a = [1, 2, 3]; [a.some(|v| v > 2), a.all(|v| v > 2), a.index_of(2), a.index_of(|v| v > 1), a.contains(3), a.find(|v| v > 1), a.find_map(|v| if v > 1 { v * 10 })]',
      [true, false, 1, 1, true, 2, 20],
    ],
    [
      'let a = [1, 2, 3, 4, 5]; [a.drain(|v| v > 3), a.retain(|v| v != 2), a.splice(0, 1, [7, 8]), a]',
      [[4, 5], [2], null, [7, 8, 3]],
    ],
    ['let a = [1, 2, 3, 4]; [a.extract(1, 2), a.split(1), a]', [[2, 3], [2, 3, 4], [1]]],
    ['let a = [1, 1, 2, 2, 1]; a.dedup(); a.pad(5, 0); a.truncate(4); a.chop(3); a', [2, 1, 0]],
    [
      'let a = [1, 2, 3]; let b = a; b[0] = 9; a.for_each(|i| this += i); [a, b]',
      [
        [1, 3, 5],
        [9, 2, 3],
      ],
    ],
    ['let a = []; [a.is_empty(), a.get(0), a.len()]', [true, null, 0]],
  ],
  blobs: [
    [
      'let b = blob(3, 1); b[1] = 255; b.push(7); [b, b.len, b[-1], b.extract(1..3)]',
      [[1, 255, 1, 7], 4, 7, [255, 1]],
    ],
    [
      'let b = blob(8); b.write_le(0, 4, 305419896); [b.parse_le_int(0, 4), b.parse_be_int(4, 4), b[0]]',
      [305419896, 0, 120],
    ],
    [
      'let b = "Ж!".to_blob(); [b, b.as_string(), b + blob(1, 65)]',
      [[208, 150, 33], 'Ж!', [208, 150, 33, 65]],
    ],
    [
      'let b = blob(2); b += 3; b.append("x"); b.reverse(); [b, b.contains(3), b.to_array()]',
      [[120, 3, 0, 0], true, [120, 3, 0, 0]],
    ],
  ],
  'object maps': [
    [
      'let m = #{b: 1, "a key": 2}; m.c = 3; m["d"] = 4; [m, m.len(), m.b, m["a key"], m.none]',
      [{ 'a key': 2, b: 1, c: 3, d: 4 }, 4, 1, 2, null],
    ],
    [
      'let m = #{z: 1, a: 2, m: 3}; [m.keys(), m.values()]',
      [
        ['a', 'm', 'z'],
        [2, 3, 1],
      ],
    ],
    [
      'let m = #{a: 1, b: 2}; [m.remove("a"), "a" in m, m.contains("b"), m.get("b"), m.is_empty()]',
      [1, false, true, 2, false],
    ],
    [
      'let m = #{a: 1}; m += #{b: 2}; m.mixin(#{a: 3}); m.fill_with(#{a: 9, c: 4}); m',
      { a: 3, b: 2, c: 4 },
    ],
    [
      'let m = #{a: 1, b: 2, c: 3}; [m.filter(|k, v| v > 1), m.map(|k, v| k + v), m.drain(|k, v| v == 1), m]',
      [{ b: 2, c: 3 }, { a: 'a1', b: 'b2', c: 'c3' }, { a: 1 }, { b: 2, c: 3 }],
    ],
    ['let m = #{a: #{b: [1, 2]}}; m.a.b[1] += 5; m.a.b.push(9); m.a.b', [1, 7, 9]],
    [
      'parse_json(`{"n": 7, "f": 1.5, "t": "\\u0416", "l": [null, true]}`)',
      { n: 7, f: 1.5, t: 'Ж', l: [null, true] },
    ],
    ['#{b: [1, 2.5, ()], a: "x"}.to_json()', '{"a":"x","b":[1,2.5,null]}'],
  ],
  variables: [
    ['let x; x', null],
    ['let x = 1; { let x = 2; x += 1; } x', 1],
    ['let x = 1; let x = x + 1; let x = `${x}!`; x', '2!'],
    ['const LIMIT = 10; LIMIT * 2', 20],
    ['const A = 1; fn f() { global::A + 1 } f()', 2],
    ['[is_def_var("x"), { let x = 1; is_def_var("x") }]', [false, true]],
    ['let a = [1]; let b = a; b.push(2); a', [1]],
    ['let x = 5; let y = take(x); [x, y]', [null, 5]],
  ],
  'if and switch': [
    ['let n = 5; if n < 3 { "few" } else if n < 10 { "some" } else { "many" }', 'some'],
    ['let x = if false { 1 }; x', null],
    [
      'let f = |v| switch v { 1 => "one", 2 | 3 => "few", 4..10 => "some", "text" => "text", \'c\' => "char", true => "yes", () => "unit", _ => "else" }; [1, 3, 9, 10, "text", \'c\', true, (), 2.5].map(f)',
      ['one', 'few', 'some', 'else', 'text', 'char', 'yes', 'unit', 'else'],
    ],
    [
      'let x = 7; switch x { 7 if x > 100 => "never", 7 if x < 100 => "seven", 0..=9 => "small", _ => "other" }',
      'seven',
    ],
    ['switch [1, #{a: 2}] { [1, #{a: 1}] => 1, [1, #{a: 2}] => 2 }', 2],
    ['switch -3 { -3 => "minus", _ => "other" }', 'minus'],
    ['switch 9 { 1 => 1 }', null],
  ],
  loops: [
    ['let n = 0; while n < 5 { n += 1; if n == 3 { break; } } n', 3],
    ['let n = 0; do { n += 1; } while n < 3; n', 3],
    ['let n = 0; do { n += 2; } until n >= 5; n', 6],
    [
      'let n = 0; let odd = []; loop { n += 1; if n > 9 { break; } if n % 2 == 0 { continue; } odd.push(n); } odd',
      [1, 3, 5, 7, 9],
    ],
    ['let found = loop { break 42; }; found', 42],
    ['let first = for v in [3, 8, 12] { if v > 5 { break v; } }; first', 8],
    ['let s = 0; for i in 0..5 { s += i; } for i in 1..=3 { s *= i; } s', 60],
    [
      'let out = []; for i in range(0, 10, 3) { out.push(i); } for i in range(3, 0, -1) { out.push(i); } out',
      [0, 3, 6, 9, 3, 2, 1],
    ],
    ['let out = []; for (v, i) in ["a", "b"] { out.push(`${i}${v}`); } out', ['0a', '1b']],
    [
      'let out = []; for c in "añ" { out.push(c); } for k in #{b: 1, a: 2}.keys() { out.push(k); } for b in blob(2, 3) { out.push(b); out.push(b.to_int() + 1); } out',
      ['a', 'ñ', 'a', 'b', 3, 4, 3, 4],
    ],
    ['let out = []; for x in range(0.0, 1.0, 0.25) { out.push(x); } out', [0, 0.25, 0.5, 0.75]],
    [
      'let r = 2..5; [r.start, r.end, r.is_inclusive, r.contains(4), r.is_empty()]',
      [2, 5, false, true, false],
    ],
  ],
  functions: [
    [
      'fn add(a, b) { a + b } fn add(a) { add(a, 1) } fn add() { add(1) } [add(), add(5), add(5, 6)]',
      [2, 6, 11],
    ],
    ['fn early(n) { if n > 0 { return "early"; } "late" } [early(1), early(0)]', ['early', 'late']],
    ['fn change(x) { x = 9; x } let x = 1; [change(x), x]', [9, 1]],
    ['fn fib(n) { if n < 2 { n } else { fib(n - 1) + fib(n - 2) } } fib(15)', 610],
    [
      '[later(2), is_def_fn("later", 1), is_def_fn("later", 2)]; fn later(n) { n * 2 }',
      [4, true, false],
    ],
    ['fn bump(by) { this += by; } let x = 40; x.bump(2); x', 42],
    [
      'fn int.double() { this * 2 } fn string.double() { this + this } [21.double(), "ab".double()]',
      [42, 'abab'],
    ],
    ['let counter = #{n: 0, add: |by| this.n += by}; counter.add(2); counter.add(3); counter.n', 5],
    ['fn outer() { inner() + 1 } fn inner() { 1 } outer()', 2],
    ['fn a() { b!() } fn b() { x } let x = 5; a!()', 5],
  ],
  'function pointers and closures': [
    [
      'let f = Fn("triple"); fn triple(n) { n * 3 } [f.call(5), f.name, call(f, 2)]',
      [15, 'triple', 6],
    ],
    ['let add = |a, b| a + b; let add5 = add.curry(5); [add.call(1, 2), add5.call(3)]', [3, 8]],
    [
      'let n = 1; let up = || { n += 1; n }; [up.call(), up.call(), n, is_shared(n)]',
      [2, 3, 3, true],
    ],
    [
      'fn make(start) { let n = start; || { n += 1; n } } let a = make(10); let b = make(20); [a.call(), a.call(), b.call()]',
      [11, 12, 21],
    ],
    ['fn twice(f, x) { f.call(f.call(x)) } twice(|x| x * x, 3)', 81],
    [
      'let say = |what| `${this} says ${what}`; let who = "Ada"; who.call(say, "hi")',
      'Ada says hi',
    ],
  ],
  errors: [
    ['let r = 0; try { throw "oops"; } catch (e) { r = `caught ${e}`; } r', 'caught oops'],
    ['let r = 0; try { throw #{code: 404, why: "gone"}; } catch (e) { r = e.code; } r', 404],
    ['let r = 0; try { let a = [1]; a[5]; } catch (e) { r = e.error; } r', 'ErrorArrayBounds'],
    ['let r = 0; try { 1 / 0; } catch { r = "divided"; } r', 'divided'],
    [
      'let r = 0; try { nothing_there(); } catch (e) { r = [e.error, e.function, e.line, e.position]; } r',
      ['ErrorFunctionNotFound', 'nothing_there ()', 1, 18],
    ],
    [
      'fn f() { throw 7; } let r = 0; try { try { f(); } catch (e) { throw e + 1; } } catch (e) { r = e; } r',
      8,
    ],
    ['let n = 0; for i in 0..3 { try { if i == 1 { throw; } n += 10; } catch { n += 1; } } n', 21],
    ['fn f() { try { return "left"; } catch { } "stayed" } f()', 'left'],
  ],
  'evaluating text': [
    ['let x = 10; eval("x += 5; x * 2")', 30],
    ['eval("let y = 5"); y', 5],
    ['fn f(n) { n + 1 } eval("f(41)")', 42],
  ],
  'leaving early': [
    ['exit(5); 6', 5],
    ['fn f() { exit("left"); } f(); 6', 'left'],
    ['return 3; 4', 3],
  ],
};

describe.each(Object.entries(CHAPTERS))('%s', (_chapter, examples) => {
  test.each(examples)('%s', (script, value) => {
    const { output, error } = hostOf({
      execute: (input) => runRhai(Buffer.from(script), input),
    }).call('');

    expect(error).toBeNull();
    expect(output).toEqual(value);
  });
});
