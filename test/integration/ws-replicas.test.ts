import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Client } from '../support/client.ts';
import { CuttableProxy } from '../support/cuttable-proxy.ts';
import { readLog } from '../support/log.ts';
import { eventually } from '../support/eventually.ts';
import { testNatsUrl } from '../support/infra.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { SseClient } from '../support/sse-client.ts';
import { WsClient } from '../support/ws-client.ts';

let node: TestNode;
let second: TestNode;
let proxy: CuttableProxy;
let client: Client;

/** Sequence of the last of what is written for those that are too slow. */
const LAST = 401;
const fanout = { outgoingBytesMax: 65_536, lagMs: 500 };

beforeAll(async () => {
  node = await startTestNode({ fanout });
  const nats = new URL(testNatsUrl());
  proxy = await CuttableProxy.start(nats.hostname, Number(nats.port));
  nats.host = `127.0.0.1:${proxy.port}`;
  second = await startTestNode({
    fanout,
    database: node.database,
    nodeName: 'second',
    natsUrl: nats.href,
  });
  client = node.client;
});
afterAll(async () => {
  await second[Symbol.asyncDispose]();
  await node[Symbol.asyncDispose]();
  await proxy[Symbol.asyncDispose]();
});

const connect = (to = node) => WsClient.connect(to.url, client.token);
const sequences = (ws: WsClient, contextId: string) =>
  ws.events('TransactionExecuted', contextId).map(({ sequence }) => Number(sequence));
const range = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

/** Through whichever replica gets it done: one of them may be cut off, or have lost a lease. */
async function set(contextId: string, value: string): Promise<void> {
  const requestId = randomUUID();
  const args = { key: 'k', value };
  await eventually(async () => {
    const answers = [node, second].map(async (each) => {
      const { error } = await each.client.mutate(contextId, 'set', args, { requestId });
      if (error !== undefined) throw new Error(JSON.stringify(error));
      return true;
    });
    return await Promise.any(answers);
  });
}

/** More than the sockets between here and there can hold. */
async function writeMuch(contextId: string): Promise<void> {
  const value = 'v'.repeat(8_000);
  for (let i = 2; i <= LAST; i += 40) {
    await Promise.all(range(i, Math.min(i + 39, LAST)).map(() => set(contextId, value)));
  }
}

/** At the first replica: whoever was too slow is gone. */
async function nobodyListens(): Promise<boolean> {
  const metrics = await (await fetch(`${node.internalUrl}/metrics`)).text();
  return /^cairn_fanout_subscriptions 0$/m.test(metrics);
}

test('a replica that loses NATS for a while makes up for it', async () => {
  const contextId = await client.open('kv-store');
  await using there = await connect(second);
  await using here = await connect();
  for (const ws of [here, there]) await ws.subscribe([contextId]);
  await set(contextId, 'before');
  await eventually(() => sequences(there, contextId).length === 1);

  proxy.cut();
  for (let i = 0; i < 20; i += 1) await set(contextId, `${i}`);
  proxy.mend();
  await set(contextId, 'after');

  // A write of unknown outcome was sent again, so the log alone knows how many there are.
  const last = (await readLog(node.database.serviceUrl, contextId)).length;
  for (const ws of [here, there]) {
    await eventually(() => sequences(ws, contextId).at(-1) === last);
    expect(sequences(ws, contextId)).toEqual(range(2, last));
  }
});

test('who goes on at another replica, again and again, sees each sequence once', async () => {
  const contextId = await client.open('kv-store');
  let head = 1;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.record({ writes: fc.nat(10), seen: fc.nat(8), isSecond: fc.boolean() }), {
        minLength: 1,
        maxLength: 6,
      }),
      async (steps) => {
        const start = head;
        const got: number[] = [];
        for (const { writes, seen, isSecond } of steps) {
          const writing = Promise.all(range(1, writes).map((i) => set(contextId, `${i}`)));
          head += writes;
          const ws = await connect(isSecond ? second : node);
          const since = String(got.at(-1) ?? start);
          expect((await ws.subscribe([contextId], { [contextId]: since })).error).toBeUndefined();
          const behind = start + got.length;
          const count = Math.min(seen, head - behind);
          await eventually(() => sequences(ws, contextId).length >= count);
          await ws[Symbol.asyncDispose]();
          got.push(...sequences(ws, contextId));
          await writing;
        }
        expect(got).toEqual(range(start + 1, start + got.length));
      },
    ),
    { numRuns: 15 },
  );
}, 120_000);

test('who is too slow for a WebSocket is told where it can go on', async () => {
  const contextId = await client.open('kv-store');
  await using slow = await connect();
  await slow.subscribe([contextId]);
  slow.socket.pause();
  await writeMuch(contextId);
  await eventually(nobodyListens);
  slow.socket.resume();
  await eventually(() => slow.closed);

  const last = sequences(slow, contextId).at(-1) ?? 1;
  expect(last).toBeLessThan(LAST);
  expect(slow.closed).toEqual({
    code: 4008,
    reason: `slow consumer, since ${JSON.stringify({ [contextId]: String(last) })}`,
  });
  await using after = await connect(second);
  await after.subscribe([contextId], { [contextId]: String(last) });
  await eventually(() => (sequences(after, contextId).at(-1) ?? last) === LAST);

  expect([...sequences(slow, contextId), ...sequences(after, contextId)]).toEqual(range(2, LAST));
});

test('who is too slow for server-sent events is cut, and goes on from its last id', async () => {
  const contextId = await client.open('kv-store');
  using slow = await SseClient.connect(node.url, client.token);
  const body = { id: slow.sessionId, method: 'subscribe', params: { contextIds: [contextId] } };
  expect((await client.post('/sse/subscription', body)).status).toBe(200);
  slow.pause();
  await writeMuch(contextId);
  await eventually(nobodyListens);
  slow.resume();
  await eventually(() => slow.isEnded);

  const headers = { 'last-event-id': slow.lastEventId };
  using after = await SseClient.connect(second.url, client.token, headers);
  const whole = slow.events.findLastIndex(({ id }) => id === slow.lastEventId);
  const seen = slow.events
    .slice(0, whole + 1)
    .map(({ data }) => data['result'] as Record<string, unknown> | undefined)
    .filter((result) => result?.['type'] === 'TransactionExecuted')
    .map((result) => Number(result?.['sequence']));
  const follow = () => after.results('TransactionExecuted').map((each) => Number(each['sequence']));
  await eventually(() => (follow().at(-1) ?? seen.at(-1)) === LAST);

  expect([...seen, ...follow()]).toEqual(range(2, LAST));
});
