/** An application in JavaScript that does what guests should not, and shows what it can see. */
export const ODD_JAVASCRIPT = `
import { emit, executorId, fail, log, randomBytes, storage, timeNs } from 'cairn';

const loaded = [Math.random(), Date.now()];
const caught = (act) => {
  try { return act(); } catch (error) { return [error.name, error.message]; }
};
const depth = (make) => {
  let calls = 0;
  const recurse = make(() => { calls += 1; recurse(); });
  return [caught(recurse), calls];
};

export const init = () => { storage.setJson('n', 0); };
export const draw = () => [loaded, Date.now(), new Date(), timeNs(), Math.random(), [...randomBytes(5)], executorId()];
export const floats = () => {
  const all = [];
  for (let x = -3; x < 3; x += 0.37) {
    all.push(Math.sin(x), Math.exp(x), Math.log(x), Math.pow(x, 0.5), Math.atan2(x, 2), x % 0.7, Math.fround(x));
  }
  return [all, new Float64Array([0 / 0, -1 / 0]).map((x) => x + 1).join(), (1e21).toFixed(2), 0.1 + 0.2];
};
export const texts = ({ text }) => [
  text.normalize('NFD').length, text.toUpperCase(), text.localeCompare('b'), [...text].sort(),
  /(?<first>[a-z]+)\\s*/giu.exec(text)?.groups, text.replace(/\\p{L}/gu, (letter) => '<' + letter + '>'),
  encodeURIComponent(text), JSON.stringify(text), btoa('text'),
];
export const count = ({ by }) => {
  const n = (storage.getJson('n') ?? 0) + by;
  storage.setJson('n', n);
  storage.set(randomBytes(8), String(n));
  emit('Counted', { n });
  log('counted', n);
  return n;
};
export const big = ({ value }) => [typeof value, value * 3n, (value ** 20n).toString(16)];
export const sorted = () => Array.from({ length: 2_000 }, (_, i) => (i * 7_919) % 2_003).sort((a, b) => a - b).slice(0, 5);
export const maps = () => {
  const map = new Map();
  for (let i = 0; i < 1_000; i += 1) map.set({ i }, i).set('k' + (i % 77), i);
  return [map.size, Object.keys({ b: 1, 2: 1, a: 1, 1: 1 })];
};
export const later = async () => {
  const order = [];
  await Promise.all([3, 1, 2].map(async (n) => { for (let i = 0; i < n; i += 1) await null; order.push(n); }));
  return order;
};
export const thrown = () => null.x;
export const failed = () => fail({ why: 'no' });
export const rejected = async () => { throw new RangeError('late'); };
export const pending = () => new Promise(() => {});
export const unreadable = () => storage.set('k'.repeat(33), '');
export const plain = () => depth((f) => () => f());
export const mapped = () => depth((f) => () => [1].map(f));
export const sorting = () => depth((f) => () => [2, 1].sort(f));
export const replacing = () => depth((f) => () => 'x'.replace(/x/, f));
export const proxied = () => depth((f) => () => new Proxy({}, { get: f }).x);
export const constructed = () => depth((f) => () => new (class { constructor() { f(); } })());
export const parsing = () => caught(() => JSON.parse('['.repeat(100_000)));
export const nesting = () => caught(() => eval('('.repeat(100_000)));
export const flattening = () => {
  let deep = [];
  for (let i = 0; i < 20_000; i += 1) deep = [deep];
  return caught(() => deep.flat(Infinity).length);
};
export const exhausting = () => {
  const all = [];
  return [caught(() => { for (;;) all.push(new Uint8Array(100_000)); }), all.length];
};
export const collecting = () => {
  for (let i = 0; i < 30_000; i += 1) { const a = { i }; a.a = [a]; }
  return caught(() => new Uint8Array(30e6).length);
};
export const backtracking = () => /(a*)*b/.test('a'.repeat(30));
export const endless = () => { for (;;); };
export const jobs = () => { const again = () => queueMicrotask(again); again(); };
`;
