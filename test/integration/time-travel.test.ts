import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { answers } from '#shared/protocol/admin-answers.ts';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import { sealTransaction } from '#shared/protocol/seal.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import type { Client } from '../support/client.ts';
import { readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { eventually } from '../support/eventually.ts';

interface Bytes {
  readonly base64: string;
  readonly json?: unknown;
  readonly text?: string;
}
type Item = Readonly<Record<string, unknown>>;
/** Keys in hex, values in base64. */
type State = ReadonlyMap<string, string>;

let node: TestNode;
let client: Client;
let contextId: string;
let log: readonly Transaction[];
/** At 0, 1, 2 … as the diffs of the log tell, one by one. */
let states: readonly State[];

beforeAll(async () => {
  node = await startTestNode({ executor: { snapshotEvery: 7 } });
  client = node.client;
  contextId = await client.open('kv-store');
  await write(contextId, 150, 1);
  log = await readLog(node.database.serviceUrl, contextId);
  states = modelOf(log);
}, 120_000);
afterAll(() => node[Symbol.asyncDispose]());

/** Sets, removes, clears and fails, by a seed. */
async function write(id: string, count: number, seed: number): Promise<void> {
  const key = fc.integer({ min: 0, max: 12 }).map(String);
  const call = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.tuple(
        fc.constant('set'),
        fc.record({ key, value: fc.string({ maxLength: 40 }) }),
      ),
    },
    { weight: 3, arbitrary: fc.tuple(fc.constant('remove'), fc.record({ key })) },
    { weight: 1, arbitrary: fc.tuple(fc.constantFrom('clear', 'nope'), fc.constant({})) },
  );
  for (const [method, args] of fc.sample(call, { numRuns: count, seed })) {
    await client.mutate(id, method, args);
  }
}

function modelOf(transactions: readonly Transaction[]): State[] {
  const all: State[] = [new Map()];
  for (const { changes } of transactions) {
    const state = new Map(all.at(-1));
    for (const { key, value } of changes) {
      if (value === null) state.delete(hex(key));
      else state.set(hex(key), base64(value));
    }
    all.push(state);
  }
  return all;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
const bytesOf = (value: unknown) => Buffer.from((value as Bytes).base64, 'base64');
const bytesOrNull = (value: unknown) => (value === null ? null : bytesOf(value));
const path = (look: string, query: Record<string, string> = {}, id = contextId) =>
  `/admin-api/contexts/${id}/${look}?${new URLSearchParams(query).toString()}`;

/** Every item, page by page: `cursor` names the parameter that `next` is for. */
async function pages(
  look: string,
  query: Record<string, string>,
  list: string,
  cursor: string,
): Promise<Item[]> {
  const all: Item[] = [];
  let asked = query;
  for (;;) {
    const data = await client.admin<Record<string, unknown> & { next: string | null }>(
      path(look, asked),
    );
    const items = data[list] as Item[];
    if (query['limit'] !== undefined) expect(items.length).toBeLessThanOrEqual(+query['limit']);
    all.push(...items);
    if (data.next === null) return all;
    asked = { ...query, [cursor]: data.next };
  }
}

async function lines(look: string, query: Record<string, string> = {}): Promise<Item[]> {
  const response = await client.fetch(path(look, query), {
    headers: { accept: 'application/x-ndjson' },
  });
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  const text = await response.text();
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Item);
}

const stateOf = (entries: readonly Item[]): State =>
  new Map(entries.map(({ key, value }) => [String(key), (value as Bytes).base64]));
const runs = { numRuns: 60 };
const sequence = () => fc.integer({ min: 0, max: log.length });

describe('the log', () => {
  test('is complete: hashes and seals can be computed from the answer alone', async () => {
    let previous: Uint8Array = new Uint8Array(32);
    const items = await pages('log', { limit: '40' }, 'transactions', 'from');

    expect(items).toHaveLength(log.length);
    for (const item of items) {
      const unsealed = {
        ...item,
        sequence: BigInt(String(item['sequence'])),
        payload: bytesOf(item['payload']),
        timeNs: BigInt(String(item['timeNs'])),
        randomSeed: Buffer.from(String(item['randomSeed']), 'hex'),
        fuelLimit: BigInt(String(item['fuelLimit'])),
        fuelUsed: BigInt(String(item['fuelUsed'])),
        output: bytesOrNull(item['output']),
        artifact: bytesOrNull(item['artifact']),
        rootHash: null,
        events: (item['events'] as Item[]).map(({ kind, data }) => ({ kind, data: bytesOf(data) })),
        changes: (item['changes'] as Item[]).map(({ key, value }) => ({
          key: Buffer.from(String(key), 'hex'),
          value: bytesOrNull(value),
        })),
      } as unknown as Transaction;
      expect(transactionHash(unsealed)).toBe(unsealed.hash);
      previous = sealTransaction(unsealed, previous);
      expect(hex(previous)).toBe(item['seal']);
    }
  });

  test('reads well where it is JSON or text', async () => {
    const id = await client.open('kv-store');
    await client.mutate(id, 'set', { key: 'greeting', value: 'good evening' });
    const { transactions, head } = await client.admin<{ transactions: Item[]; head: string }>(
      path('log', { from: '2' }, id),
    );

    expect(head).toBe('2');
    const payload = { key: 'greeting', value: 'good evening' };
    expect(transactions).toMatchObject([
      { sequence: '2', kind: 'mutate', method: 'set', status: 'ok', payload: { json: payload } },
    ]);
    expect(transactions[0]?.['events']).toMatchObject([{ kind: 'Inserted', data: { json: {} } }]);
    expect(transactions[0]?.['changes']).toContainEqual(
      expect.objectContaining({ keyText: 'count' }),
    );
    expect(Date.parse(String(transactions[0]?.['time']))).toBeGreaterThan(0);
  });

  test('comes in pages of any size, from either end, or in lines', async () => {
    const expected = log.map(({ sequence }) => `${sequence}`);
    const of = (items: readonly Item[]) => items.map((item) => item['sequence']);
    for (const limit of ['1', '7', '150', '9999']) {
      expect(of(await pages('log', { limit }, 'transactions', 'from'))).toEqual(expected);
      const newest = { limit, order: 'newest' };
      expect(of(await pages('log', newest, 'transactions', 'from'))).toEqual(expected.toReversed());
    }
    expect(of(await lines('log'))).toEqual(expected);
    expect(of(await lines('log', { order: 'newest', from: '9', limit: '3' }))).toEqual([
      '9',
      '8',
      '7',
    ]);
    const end = await client.admin(path('log', { from: `${log.length + 1}` }));
    expect(end).toMatchObject({ transactions: [], next: null });
  });
});

describe('what the naive model says', () => {
  test('is what the state was at any sequence, by page, by prefix and in lines', async () => {
    await fc.assert(
      fc.asyncProperty(
        sequence(),
        fc.constantFrom('1', '3', '1000'),
        fc.constantFrom('', '73', '6b6579', 'ff'),
        async (at, limit, prefix) => {
          const query = { at: `${at}`, limit, prefix };
          const entries = await pages('state', query, 'entries', 'after');
          const expected = [...(states[at] ?? [])].filter(([key]) => key.startsWith(prefix));
          expect(stateOf(entries)).toEqual(new Map(expected));
          const keys = entries.map(({ key }) => String(key));
          expect(keys).toEqual(keys.toSorted());
          expect(await lines('state', { at: `${at}`, prefix })).toEqual(entries);
        },
      ),
      runs,
    );
  });

  test('is what differs between any two sequences', async () => {
    await fc.assert(
      fc.asyncProperty(
        sequence(),
        sequence(),
        fc.constantFrom('1', '4', '1000'),
        async (a, b, limit) => {
          const [from, to] = a < b ? [a, b] : [b, a];
          const query = { from: `${from}`, to: `${to}`, limit };
          const found = await pages('diff', query, 'differences', 'after');
          const before: State = states[from] ?? new Map<string, string>();
          const after: State = states[to] ?? new Map<string, string>();
          const keys = [...new Set([...before.keys(), ...after.keys()])].toSorted();
          const expected = keys
            .filter((key) => before.get(key) !== after.get(key))
            .map((key) => [key, before.get(key), after.get(key)]);
          expect(
            found.map(({ key, old, new: now }) => [
              key,
              (old as Bytes | null)?.base64,
              (now as Bytes | null)?.base64,
            ]),
          ).toEqual(expected);
          for (const { kind, old, new: now } of found) {
            expect(kind).toBe(old === null ? 'added' : now === null ? 'removed' : 'changed');
          }
        },
      ),
      runs,
    );
  });

  test('is every change of a key, and who was the last before any sequence', async () => {
    const keys = [...new Set(log.flatMap(({ changes }) => changes.map(({ key }) => hex(key))))];
    expect(keys.length).toBeGreaterThan(10);
    for (const key of [...keys, '00'.repeat(32)]) {
      const expected = log
        .filter(({ changes }) => changes.some((change) => hex(change.key) === key))
        .map(({ sequence: at }) => {
          const [before, after] = [states[Number(at) - 1], states[Number(at)]];
          return [`${at}`, before?.get(key), after?.get(key)];
        })
        .toReversed();
      for (const limit of ['2', '1000']) {
        const found = await pages('history', { key, limit }, 'changes', 'at');
        expect(
          found.map(({ sequence: at, old, new: now }) => [
            at,
            (old as Bytes | null)?.base64,
            (now as Bytes | null)?.base64,
          ]),
        ).toEqual(expected);
      }
      const at = log.length >> 1;
      const blame = await lines('history', { key, at: `${at}`, limit: '1' });
      const last = expected.find(([sequence]) => Number(sequence) <= at);
      expect(blame.map((change) => change['sequence'])).toEqual(
        last === undefined ? [] : [last[0]],
      );
      for (const change of blame) {
        const made = log[Number(change['sequence']) - 1];
        expect(change).toMatchObject({
          method: made?.method,
          principal: made?.principal,
          executorPublicKey: made?.executorPublicKey,
          hash: made?.hash,
        });
      }
    }
  });

  test('holds without snapshots too', async () => {
    await using other = await startTestNode({ database: node.database, nodeName: 'other' });
    const id = await other.client.open('kv-store');
    for (let i = 0; i < 5; i += 1)
      await other.client.mutate(id, 'set', { key: 'a', value: `${i}` });
    const model = modelOf(await readLog(node.database.serviceUrl, id));
    for (const [at, expected] of model.entries()) {
      const { entries } = await client.admin<{ entries: Item[] }>(
        path('state', { at: `${at}` }, id),
      );
      expect(stateOf(entries)).toEqual(expected);
    }
  });
});

test('a key whose bytes stand in a value is not taken for a change of it', async () => {
  const id = await client.open('kv-store');
  const count = `count${'\0'.repeat(27)}`;
  await client.mutate(id, 'set', { key: 'a', value: 'b' });
  const key = hex(Buffer.from(count));
  const history = async () =>
    (await client.admin<{ changes: Item[] }>(path('history', { key }, id))).changes;
  const before = await history();
  expect(before.map((change) => change['sequence'])).toEqual(['2', '1']);

  const other = await client.open('kv-store');
  const [entry] = (await client.admin<{ entries: Item[] }>(path('state', {}, other))).entries;
  expect(entry?.['key']).toBe(key);
  // `a` is there already: the count of entries stays, and its key is only what the value says.
  await client.mutate(id, 'set', { key: 'a', value: 'count'.padEnd(32, '!') });
  expect(await history()).toEqual(before);
});

test('answers are what the description says', async () => {
  const key = [...(states.at(-1) ?? new Map<string, string>()).keys()][0] ?? '';
  for (const [name, look] of [
    ['log', path('log', { limit: '500' })],
    ['state', path('state')],
    ['difference', path('diff', { from: '3' })],
    ['keyHistory', path('history', { key })],
  ] as const) {
    const answer: unknown = await (await client.fetch(look)).json();
    expect(answers[name].safeParse(answer).error?.issues ?? [], name).toEqual([]);
  }
});

test('what cannot be looked at is refused with a reason', async () => {
  const head = log.length;
  const deleted = await client.open('kv-store');
  await client.deleteContext(deleted);
  const key = '00'.repeat(32);
  const beyond = (name: string) => `${name} is not in the log, which ends at ${head}`;
  for (const [look, query, status, reason] of [
    ['log', { from: '0' }, 400, beyond('from')],
    ['log', { from: `${head + 2}` }, 400, beyond('from')],
    ['log', { from: `${head + 1}`, order: 'newest' }, 400, beyond('from')],
    ['log', { from: '-1' }, 400, 'from: a sequence is a decimal number'],
    ['log', { from: '9223372036854775808' }, 400, 'from: beyond any sequence'],
    ['log', { limit: '0' }, 400, 'limit: a limit is a number from 1 to 999999999'],
    ['log', { order: 'random' }, 400, 'order: '],
    ['log', { form: '1' }, 400, 'Unrecognized key: "form"'],
    ['state', { at: `${head + 1}` }, 400, beyond('at')],
    ['state', { prefix: 'f' }, 400, 'prefix: a prefix is up to 32 bytes in lower-case hex'],
    ['state', { after: 'ff' }, 400, 'after: a key is 64 lower-case hex digits'],
    ['diff', {}, 400, 'from: '],
    ['diff', { from: '5', to: '4' }, 400, 'from 5 is behind to 4'],
    ['diff', { from: `${head + 1}` }, 400, beyond('from')],
    ['diff', { from: '0', to: `${head + 1}` }, 400, beyond('to')],
    ['history', {}, 400, 'key: '],
    ['history', { key: 'XY' }, 400, 'key: a key is 64 lower-case hex digits'],
    ['history', { key, at: `${head + 1}` }, 400, beyond('at')],
  ] as const) {
    const response = await client.fetch(path(look, query));
    const { error } = (await response.json()) as { error: string };
    expect([response.status, error]).toEqual([status, expect.stringContaining(reason)]);
  }
  for (const id of [deleted, '1'.repeat(32)]) {
    for (const look of ['log', 'state', 'diff?from=0', `history?key=${key}`]) {
      const response = await client.fetch(`/admin-api/contexts/${id}/${look}`);
      expect([response.status, await response.json()]).toEqual([
        404,
        { error: 'Context not found' },
      ]);
    }
  }
});

describe('a caller that goes away', () => {
  test('ends the reading of the log and makes room for another', async () => {
    await using small = await startTestNode({
      database: node.database,
      nodeName: 'small',
      admin: { historyReadsMax: 1 },
    });
    const id = await small.client.open('kv-store');
    const value = 'x'.repeat(1_500_000);
    for (let i = 0; i < 30; i += 1) await small.client.mutate(id, 'set', { key: 'a', value });
    const gone = new AbortController();
    const response = await small.client.fetch(path('log', {}, id), {
      headers: { accept: 'application/x-ndjson' },
      signal: gone.signal,
    });
    const reader = response.body?.getReader();
    const first = (await reader?.read()) as { readonly value: Uint8Array } | undefined;
    expect(first?.value.length).toBeGreaterThan(0);

    const refused = await small.client.fetch(path('state', {}, id));
    expect([refused.status, await refused.json()]).toEqual([
      503,
      { error: 'too many are looking back already, try again' },
    ]);
    gone.abort();

    const served = await eventually(async () => {
      const again = await small.client.fetch(path('log', { limit: '1' }, id));
      const text = await again.text();
      return again.status === 200 ? text : null;
    });
    expect(JSON.parse(served)).toMatchObject({ data: { head: '31', next: '2' } });
    // What asks for no bytes leaves nothing open either.
    const head = await small.client.fetch(path('log', {}, id), { method: 'HEAD' });
    expect(head.status).toBe(200);
    const last = await eventually(async () => {
      const again = await small.client.fetch(path('log', { limit: '30' }, id));
      const text = await again.text();
      return again.status === 200 ? text : null;
    });
    // A page of many bytes ends before its limit, and says where to go on.
    const { data } = JSON.parse(last) as { data: { transactions: Item[]; next: string } };
    expect(data.transactions.length).toBeLessThan(10);
    expect(data.next).toBe(`${data.transactions.length + 1}`);
  });
});
