import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { oddGuest } from '../guests/odd-guest.ts';
import type { Client, RpcAnswer } from '../support/client.ts';
import { readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { assemble } from '../support/wat.ts';

const FUEL_PER_CALL = 10_000_000;
let node: TestNode;
let client: Client;
let store: string;
let odd: string;

beforeAll(async () => {
  node = await startTestNode({ executor: { fuelPerCallMax: FUEL_PER_CALL } });
  client = node.client;
  store = await client.open('kv-store');
  odd = await client.open(assemble(oddGuest(1)));
});
afterAll(() => node[Symbol.asyncDispose]());

const set = (value: string, options: object = {}): Promise<RpcAnswer> =>
  client.mutate(store, 'set', { key: 'a', value }, options);

describe('fuel', () => {
  test('is told on request, the same for a repeated request, and else not', async () => {
    const options = { reportFuel: true, requestId: 'one' };
    const first = await set('1', options);
    const again = await set('1', options);
    const silent = await set('1');

    expect(Number(first.result?.fuelUsed)).toBeGreaterThan(0);
    expect(again.result).toEqual(first.result);
    expect(silent.result).not.toHaveProperty('fuelUsed');
  });

  test('is told of queries, and of calls that failed', async () => {
    const argsJson = { key: 'a' };
    const query = await client.rpc('query', {
      contextId: store,
      method: 'get',
      argsJson,
      reportFuel: true,
    });
    const failed = await client.mutate(odd, 'fail', {}, { reportFuel: true });

    expect(Number(query.result?.fuelUsed)).toBeGreaterThan(0);
    expect(Number(failed.error?.fuelUsed)).toBeGreaterThan(0);
  });

  test('is recorded in the log, with its limit and the rules that it was counted by', async () => {
    const answer = await set('2', { reportFuel: true });

    const last = (await readLog(node.database.serviceUrl, store)).at(-1);

    expect(last).toMatchObject({ executionVersion: 1, fuelLimit: BigInt(FUEL_PER_CALL) });
    expect(last?.fuelUsed.toString()).toBe(answer.result?.fuelUsed);
  });

  test('grows with what a call does', async () => {
    const small = await set('x', { reportFuel: true });
    const large = await set('x'.repeat(10_000), { reportFuel: true });

    const grown = Number(large.result?.fuelUsed) - Number(small.result?.fuelUsed);
    expect(grown).toBeGreaterThan(100_000);
  });

  test('that ran out ends a loop with one clear error, and is an outcome like any other', async () => {
    const spun = await client.mutate(odd, 'spin', {}, { reportFuel: true });

    expect(spun.error).toEqual({
      type: 'FunctionCallError',
      data: 'out of fuel',
      fuelUsed: String(FUEL_PER_CALL),
    });
    expect((await readLog(node.database.serviceUrl, odd)).at(-1)).toMatchObject({
      method: 'spin',
      status: 'failed',
      error: 'out of fuel',
      changes: [],
      fuelUsed: BigInt(FUEL_PER_CALL),
    });
  });

  test('is seen in the metrics', async () => {
    const text = await (await fetch(`${node.internalUrl}/metrics`)).text();

    expect(text).toMatch(/cairn_execution_fuel_count \d+/);
  });

  test.each(['yes', 1, []])('cannot be asked for with %j', async (reportFuel) => {
    const params = { contextId: store, method: 'len', argsJson: {}, reportFuel };

    expect((await client.rpc('query', params)).error?.type).toBe('ParseError');
  });
});
