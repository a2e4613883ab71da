/** Methods that end in every way a script can end, or whose result a careless engine would vary. */
export const ODD_RHAI = `
const STEP = 3;

fn init() { storage::set_json("count", 0); }

fn count(by) {
  let n = storage::get_json("count") + by * global::STEP;
  storage::set_json("count", n);
  emit("Counted", #{ n: n, by: by });
  n
}

fn draw() {
  emit("Drawn", #{ time: time_ns(), random: random_bytes(16), who: executor_id(), where: context_id() });
  random_bytes(8)
}

fn floats() {
  let out = [];
  for i in 1..60 {
    let x = i.to_float() / 7.0;
    out.push([sin(x), cos(x), tan(x), exp(x), ln(x), sqrt(x), x ** 1.7, atan(x), (x * 1e10).round()]);
  }
  print((0.0 / 0.0).to_string() + (-1.0 / 0.0).to_string());
  out
}

fn maps() {
  let seen = #{};
  for i in 0..300 { seen["k" + (i * 7919) % 401] = #{ i: i, list: [i, i / 2.0, ()] }; }
  let filtered = seen.filter(|k, v| v.i % 3 == 0);
  #{ keys: seen.keys().len, filtered: filtered, text: filtered.to_json().len }
}

fn sorted() {
  let all = [];
  let x = 12345;
  for i in 0..400 { x = (x * 1103515245 + 12345) % 2147483648; all.push(x); }
  all.sort(|a, b| if a % 1000 == b % 1000 { a - b } else { a % 1000 - b % 1000 });
  all.extract(0, 20)
}

fn closures() {
  let total = 0;
  let adders = [1, 2, 3].map(|by| |x| x + by);
  let add = |x| total += x;
  for f in adders { add.call(f.call(10)); }
  [total, type_of(add), adders.len, (|| 1).name]
}

fn texts(text) {
  let out = [];
  for word in text.split(" ") { out.push(\`\${word.to_upper()}|\${word.len}|\${word.bytes}\`); }
  out.push(text.replace("a", "ää"));
  out
}

fn big(value) { [value, value + 1, -9223372036854775807 - 1] }

fn evaluated() { let x = 20; eval("let y = x * 2; y + 2") }

fn caught() {
  let errors = [];
  try { throw #{ code: 7 }; } catch (e) { errors.push(e); }
  try { [1][5]; } catch (e) { errors.push(e); }
  try { nothing(); } catch (e) { errors.push(e); }
  try { 9223372036854775807 + 1; } catch (e) { errors.push(e); }
  errors
}

fn thrown() { storage::set("lost", "x"); throw "thrown"; }
fn failed() { storage::set("lost", "x"); fail(#{ code: 4 }); }
fn wrong() { 1 / 0 }
fn missing() { nothing_of_this_name(1, "two") }
fn recursing(n) { recursing(n + 1) }
fn nesting() { ${'(1 + '.repeat(30)}nesting()${')'.repeat(30)} }
fn burrowing() { let a = []; for i in 0..100000 { a = [take(a)]; } a.len }
fn printing() { let a = []; for i in 0..1500 { a = [take(a)]; } print(a); }
fn doubling() { let s = "x"; loop { s += s; } }
fn collecting() { let all = []; loop { all += [1, 2, 3, 4, 5, 6, 7, 8]; } }
fn endless() { loop { } }
fn counting() { let i = 0; while true { i += 1; } }
fn evaluating() { loop { eval("1 + 1"); } }
fn flooding() { loop { print("x"); } }
fn emitting() { loop { emit("E", 1); } }
fn writing() { let v = blob(1000000, 7); let i = 0; loop { storage::set(\`\${i}\`, v); i += 1; } }
fn keyed() { storage::set("a key of more than thirty-two bytes", "x"); }
fn huge() { blob(9223372036854775807) }
`;
