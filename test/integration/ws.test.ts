import { randomBytes } from 'node:crypto';
import { get } from 'node:http';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectNats } from '#shared/bus/nats-bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import { keyPairOf } from '#shared/crypto/ed25519.ts';
import { contextIdFromBytes, parseContextId } from '#shared/protocol/ids.ts';
import { partitionOf } from '#shared/protocol/internal-messages.ts';
import { encodeBeacon } from '#shared/protocol/log-notice.ts';
import { appendBehindTheOwner } from '../support/log.ts';
import { oddGuest } from '../guests/odd-guest.ts';
import type { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { testNatsUrl } from '../support/infra.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { assemble } from '../support/wat.ts';
import { WsClient } from '../support/ws-client.ts';

let node: TestNode;
let client: Client;

beforeAll(async () => {
  node = await startTestNode({ fanout: { connectionsMax: 20, heartbeatMs: 300 } });
  client = node.client;
});
afterAll(() => node[Symbol.asyncDispose]());

const connect = () => WsClient.connect(node.url, client.token);
const set = (contextId: string, key: string) =>
  client.mutate(contextId, 'set', { key, value: key });
const sequences = (ws: WsClient, contextId: string) =>
  ws.events('TransactionExecuted', contextId).map(({ sequence }) => Number(sequence));
const range = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

describe('live events', () => {
  test('each mutation arrives in the words of both generations, with "id":null written out', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await connect();
    expect(await ws.subscribe([contextId], undefined, 7)).toEqual({
      id: 7,
      result: { contextIds: [contextId] },
    });
    const texts: string[] = [];
    ws.socket.on('message', (data: Buffer) => texts.push(data.toString()));

    const { result } = await set(contextId, 'a');
    await eventually(() => ws.events('ExecutionEvent').length === 1);

    const { sequence, hash } = result ?? {};
    const data = { events: [{ kind: 'Inserted', data: expect.any(Array) }] };
    expect(ws.frames.slice(1).map((frame) => frame.result)).toEqual([
      { contextId, type: 'TransactionExecuted', data: { hash }, sequence, hash },
      { contextId, type: 'OutcomeEvent', data, sequence, hash },
      { contextId, type: 'StateMutation', data: { newRoot: hash }, sequence, hash },
      { contextId, type: 'ExecutionEvent', data, sequence, hash },
    ]);
    for (const text of texts) expect(text).toMatch(/^\{"id":null,/);
  });

  test('a failed mutation is told of without the events of a success; a query is not', async () => {
    const contextId = await client.open(assemble(oddGuest(1)));
    await using ws = await connect();
    await ws.subscribe([contextId]);

    await client.query(contextId, 'get');
    await client.mutate(contextId, 'fail', {});
    await client.mutate(contextId, 'events_100', {});
    await eventually(() => ws.events('ExecutionEvent').length === 1);

    expect(ws.events('TransactionExecuted').map(({ sequence }) => sequence)).toEqual(['2', '3']);
    expect(ws.events('OutcomeEvent')[0]).toMatchObject({ data: { events: [] } });
  });

  test('several contexts share a socket, and one that was unsubscribed is silent', async () => {
    const [first, second] = [await client.open('kv-store'), await client.open('kv-store')];
    await using ws = await connect();
    await ws.subscribe([first, second]);
    await Promise.all([set(first, 'a'), set(second, 'a')]);
    await eventually(() => ws.events('TransactionExecuted').length === 2);

    await ws.request({ id: 2, method: 'unsubscribe', params: { contextIds: [first] } });
    await Promise.all([set(first, 'b'), set(second, 'b')]);
    await eventually(() => sequences(ws, second).length === 2);

    expect(sequences(ws, first)).toEqual([2]);
    expect(sequences(ws, second)).toEqual([2, 3]);
  });

  test('a context that does not exist yet can be waited for', async () => {
    const applicationId = await client.install('kv-store');
    const seed = randomBytes(32);
    const contextId = contextIdFromBytes(keyPairOf(seed).publicKey);
    await using ws = await connect();
    await ws.subscribe([contextId]);

    await client.admin('/admin-api/contexts', {
      applicationId,
      contextSeed: encodeBase58(seed),
      initializationParams: [123, 125],
    });
    await set(contextId, 'a');
    await eventually(() => sequences(ws, contextId).length === 2);

    expect(sequences(ws, contextId)).toEqual([1, 2]);
  });
});

describe('since', () => {
  test('tells what was missed, then goes on live', async () => {
    const contextId = await client.open('kv-store');
    for (const key of ['a', 'b', 'c']) await set(contextId, key);
    await using ws = await connect();

    await ws.subscribe([contextId], { [contextId]: '2' });
    await set(contextId, 'd');
    await eventually(() => sequences(ws, contextId).length === 3);

    expect(sequences(ws, contextId)).toEqual([3, 4, 5]);
  });

  test('whose hash is not in this log is told to start over', async () => {
    const contextId = await client.open('kv-store');
    const { hash = '' } = (await set(contextId, 'a')).result ?? {};
    await using ws = await connect();

    const wrong = await ws.subscribe([contextId], {
      [contextId]: { sequence: '2', hash: '1'.repeat(32) },
    });
    const right = await ws.subscribe([contextId], { [contextId]: { sequence: '2', hash } }, 2);

    expect(wrong.error?.type).toBe('ResyncRequired');
    expect(right.error).toBeUndefined();
  });

  test('gives no gap and no duplicate, wherever it starts and whatever is written meanwhile', async () => {
    const contextId = await client.open('kv-store');
    let head = 1;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            position: fc.double({ min: 0, max: 1, noNaN: true }),
            delay: fc.nat(20),
          }),
          { minLength: 1, maxLength: 8 },
        ),
        fc.integer({ min: 1, max: 60 }),
        async (subscribers, writes) => {
          const start = head;
          const writing = Promise.all(range(1, writes).map((i) => set(contextId, `k${i}`)));
          const followers = await Promise.all(
            subscribers.map(async ({ position, delay }) => {
              await new Promise((resolve) => setTimeout(resolve, delay));
              const from = Math.floor(position * start);
              const ws = await connect();
              const answer = await ws.subscribe([contextId], { [contextId]: String(from) });
              expect(answer.error).toBeUndefined();
              return { ws, from };
            }),
          );
          await writing;
          head = start + writes;
          for (const { ws, from } of followers) {
            await eventually(() => sequences(ws, contextId).at(-1) === head);
            expect(sequences(ws, contextId)).toEqual(range(from + 1, head));
            await ws[Symbol.asyncDispose]();
          }
        },
      ),
      { numRuns: 25 },
    );
  });
});

describe('lost notices', () => {
  test('an append that nobody announced is found by the next one', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await connect();
    await ws.subscribe([contextId]);

    await appendBehindTheOwner(node.database, contextId);
    await set(contextId, 'after');
    await eventually(() => sequences(ws, contextId).length === 2);

    expect(sequences(ws, contextId)).toEqual([2, 3]);
  });

  test('an append whose owner died before announcing it is found at the takeover', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await connect();
    await ws.subscribe([contextId]);
    await appendBehindTheOwner(node.database, contextId);
    expect(sequences(ws, contextId)).toEqual([]);

    await using bus = await connectNats(testNatsUrl(), 'test');
    bus.publish(subjects.beacon(partitionOf(parseContextId(contextId))), encodeBeacon([]));

    await eventually(() => sequences(ws, contextId).length === 1);
  });
});

describe('bad input', () => {
  test('binary, garbage and oversized frames, and 10 000 subscribes, harm nobody', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await connect();
    ws.socket.send(Buffer.from([1, 2, 3]));
    for (const text of ['', 'garbage', '[]', 'null', '{"id":"text","method":"subscribe"}'])
      ws.send(text);
    const answer = await ws.subscribe([contextId]);
    expect(ws.frames).toEqual([answer]);

    for (let id = 2; id < 10_002; id += 1) {
      ws.send({ id, method: 'subscribe', params: { contextIds: [contextId] } });
    }
    await eventually(() => ws.frames.length === 10_001);
    await set(contextId, 'a');
    await eventually(() => sequences(ws, contextId).length === 1);

    await using large = await connect();
    large.send('x'.repeat(100_000));
    await eventually(() => large.closed?.code === 1009);
    expect(sequences(ws, contextId)).toEqual([2]);
  });

  test.each<[object, RegExp]>([
    [{ method: 'shout', params: {} }, /unknown variant `shout`/],
    [{ method: 'subscribe' }, /missing field `params`/],
    [{ method: 'subscribe', params: { contextIds: ['abc'] } }, /invalid length 3/],
    [{ method: 'subscribe', params: { contextIds: [], since: 5 } }, /`since`/],
  ])('%j is a ParseError', async (frame, reason) => {
    await using ws = await connect();
    const answer = await ws.request({ id: 1, ...frame });

    expect(answer.error).toEqual({ type: 'ParseError', data: expect.stringMatching(reason) });
  });

  test('10 000 contexts on one connection are refused with a reason', async () => {
    await using ws = await connect();
    const ids = Array.from({ length: 1_100 }, (_, i) => idOf(i));

    const answer = await ws.subscribe(ids);

    expect(answer.error?.data).toMatch(/1000/);
  });
});

describe('connections', () => {
  test('with a wrong token are refused before the upgrade', async () => {
    await expect(WsClient.connect(node.url, 'wrong')).rejects.toThrow(/401/);
  });

  test('are limited in number', async () => {
    const open = await Promise.all(range(1, 20).map(() => connect()));

    await expect(connect()).rejects.toThrow(/503/);
    for (const ws of open) await ws[Symbol.asyncDispose]();
    await eventually(async () => {
      await using ws = await connect();
      return ws.closed === null;
    });
  });

  test('that answer no ping are cut, the others live on', async () => {
    await using deaf = await connect();
    await using alive = await connect();
    deaf.socket.pong = () => undefined;

    await eventually(() => deaf.closed);
    expect(alive.closed).toBeNull();
  });

  test('a plain GET is told to upgrade', async () => {
    const status = await new Promise((resolve, reject) => {
      get(`${node.url}/ws`, (response) => {
        response.resume();
        resolve(response.statusCode);
      }).on('error', reject);
    });

    expect(status).toBe(426);
  });
});

/** Some valid id. */
function idOf(i: number): string {
  const alphabet = 'ABCDEFGHJK';
  const digits = String(i)
    .padStart(6, '0')
    .replaceAll(/\d/g, (digit) => alphabet[Number(digit)] ?? '');
  return `4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQf${digits}LKi`;
}
