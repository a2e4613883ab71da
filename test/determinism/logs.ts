import { readFile } from 'node:fs/promises';
import type { Engine } from '#shared/domain/engine.ts';
import { ODD_JAVASCRIPT } from '../guests/odd-javascript.ts';
import { oddGuest } from '../guests/odd-guest.ts';
import { ODD_RHAI } from '../guests/odd-rhai.ts';
import { assemble } from '../support/wat.ts';

export interface Call {
  readonly method: string;
  readonly args?: unknown;
  readonly fuelLimit?: bigint;
}

export interface Log {
  readonly name: string;
  readonly engine: Engine;
  readonly source: () => Promise<Uint8Array>;
  readonly calls: readonly Call[];
}

const example = (path: string) => () =>
  readFile(new URL(`../../examples/${path}`, import.meta.url));

/** What ends a guest, and what shows it the world. */
const ODD = [
  'init echo put get swap remove fail fail_after_write logs_100 logs_101 events_100 events_101',
  'commit draw who features bomb trap_unreachable trap_divide trap_truncate trap_memory',
  'trap_null_call trap_signature trap_stack missing_register long_key huge_value',
]
  .join(' ')
  .split(' ');

const store: Call[] = [{ method: 'init' }];
for (let i = 0; i < 300; i += 1) {
  store.push({ method: 'set', args: { key: `key ${i % 40}`, value: 'v'.repeat(i) } });
  if (i % 5 === 0) store.push({ method: 'remove', args: { key: `key ${i % 7}` } });
  if (i % 50 === 0) store.push({ method: 'entries' }, { method: 'len' });
}

const forum: Call[] = [{ method: 'init' }];
for (let i = 0; i < 60; i += 1) {
  forum.push({ method: 'create_post', args: { title: `Post ${i}`, content: 'é'.repeat(i) } });
  forum.push({ method: 'create_comment', args: { post_id: i, text: `No ${i}`, user: 'ada' } });
}
forum.push({ method: 'posts' }, { method: 'posts', fuelLimit: 5_000n }, { method: 'nope' });

const oddCalls: Call[] = [
  ...ODD.map((method) => ({ method })),
  { method: 'spin', fuelLimit: 1_000_000n },
  { method: 'trap_stack', fuelLimit: 5_000n },
];

const ODD_SCRIPT = [
  'init draw draw floats sorted maps later thrown failed rejected pending unreadable plain mapped',
  'sorting replacing proxied constructed parsing nesting flattening exhausting collecting',
  'backtracking endless jobs nope',
]
  .join(' ')
  .split(' ');

const oddScriptCalls: Call[] = [
  ...ODD_SCRIPT.map((method) => ({ method })),
  { method: 'texts', args: { text: 'straße Ünï 🎉 ab' } },
  { method: 'big', args: { value: 2 ** 53 } },
];
for (let i = 0; i < 50; i += 1) oddScriptCalls.push({ method: 'count', args: { by: i } });

const ODD_RHAI_METHODS = [
  'init draw draw floats maps sorted closures evaluated caught thrown failed wrong missing nesting',
  'burrowing printing doubling collecting endless counting evaluating flooding emitting writing',
  'keyed huge nope',
]
  .join(' ')
  .split(' ');

const oddRhaiCalls: Call[] = [
  ...ODD_RHAI_METHODS.map((method) => ({ method })),
  { method: 'recursing', args: { n: 0 } },
  { method: 'recursing', args: { m: 0 } },
  { method: 'texts', args: { text: 'straße Ünï 🎉 ab' } },
  { method: 'big', args: { value: 2 ** 53 } },
  { method: 'sorted', fuelLimit: 500_000n },
];
for (let i = 0; i < 50; i += 1) oddRhaiCalls.push({ method: 'count', args: { by: i } });

export const LOGS: readonly Log[] = [
  { name: 'kv-store', engine: 'wasm', source: example('kv-store/kv-store.wasm'), calls: store },
  {
    name: 'only-peers',
    engine: 'wasm',
    source: example('only-peers/only-peers.wasm'),
    calls: forum,
  },
  {
    name: 'odd-v1',
    engine: 'wasm',
    source: async () => assemble(oddGuest(1)),
    calls: oddCalls,
  },
  {
    name: 'odd-v2',
    engine: 'wasm',
    source: async () => assemble(oddGuest(2)),
    calls: oddCalls,
  },
  {
    name: 'forum-typescript',
    engine: 'javascript',
    source: example('forum-typescript/forum.js'),
    calls: forum,
  },
  {
    name: 'odd-javascript',
    engine: 'javascript',
    source: async () => Buffer.from(ODD_JAVASCRIPT),
    calls: oddScriptCalls,
  },
  {
    name: 'forum-rhai',
    engine: 'rhai',
    source: example('forum-rhai/forum.rhai'),
    calls: forum,
  },
  {
    name: 'odd-rhai',
    engine: 'rhai',
    source: async () => Buffer.from(ODD_RHAI),
    calls: oddRhaiCalls,
  },
];
