import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HOSTILE, MISDEEDS, type Misdeed } from '../guests/hostile-guests.ts';
import type { Client } from '../support/client.ts';
import { readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';

const BURST = 30;
const NEIGHBOUR_CALLS = 5;

let node: TestNode;
let client: Client;
beforeAll(async () => {
  node = await startTestNode({ executor: { workers: 1, fuelPerCallMax: 200_000_000 } });
  client = node.client;
});
afterAll(() => node[Symbol.asyncDispose]());

describe.each(HOSTILE)('a guest of the engine %s', (engine, source) => {
  let hostile: string;
  let neighbour: string;
  beforeAll(async () => {
    hostile = await client.createContext(await client.install(source(), engine));
    neighbour = await client.open('kv-store');
  });

  test.each(Object.entries(MISDEEDS))(
    'that does %s gets one clear error, and leaves nothing but that',
    async (misdeed, error) => {
      const answer = await client.mutate(hostile, misdeed, {});
      const beside = await client.mutate(neighbour, 'set', { key: misdeed, value: 'well' });

      expect(answer.error).toEqual({
        type: 'FunctionCallError',
        data: expect.stringMatching(error),
      });
      expect(beside.error).toBeUndefined();
      expect((await readLog(node.database.serviceUrl, hostile)).at(-1)).toMatchObject({
        method: misdeed,
        status: 'failed',
        changes: [],
        events: [],
      });
    },
  );

  test('that is called many times at once does not keep its neighbours waiting behind it', async () => {
    let looped = 0;
    const misdeed: Misdeed = 'spin';
    const burst = Array.from({ length: BURST }, async () => {
      const { error } = await client.mutate(hostile, misdeed, {});
      looped += 1;
      return error?.data;
    });

    for (let i = 0; i < NEIGHBOUR_CALLS; i += 1) {
      const { error } = await client.mutate(neighbour, 'set', { key: 'a', value: `${i}` });
      expect(error).toBeUndefined();
    }

    expect(looped).toBeLessThan(BURST);
    expect(new Set(await Promise.all(burst))).toEqual(new Set(['out of fuel']));
  });
});
