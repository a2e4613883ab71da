import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { SseClient } from '../support/sse-client.ts';

let node: TestNode;
let second: TestNode;
let client: Client;

beforeAll(async () => {
  const config = {
    auth: { accessTokenMs: 3_000 },
    fanout: { heartbeatMs: 300, sseSubscriptionsMax: 8 },
  };
  node = await startTestNode(config);
  second = await startTestNode({ ...config, database: node.database, nodeName: 'second' });
  client = node.client;
});
afterAll(async () => {
  await second[Symbol.asyncDispose]();
  await node[Symbol.asyncDispose]();
});

const connect = (headers: Record<string, string> = {}, to = node) =>
  SseClient.connect(to.url, client.token, headers);
const resume = (stream: SseClient, to = node) =>
  connect({ 'last-event-id': stream.lastEventId }, to);
const set = (contextId: string, key: string) =>
  client.mutate(contextId, 'set', { key, value: key });
const sequences = (stream: SseClient, contextId: string) =>
  stream.results('TransactionExecuted', contextId).map(({ sequence }) => Number(sequence));
const range = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i);

async function change(
  method: 'subscribe' | 'unsubscribe',
  sessionId: string,
  params: Readonly<Record<string, unknown>>,
  at = node,
): Promise<readonly [number, unknown]> {
  const body = { id: sessionId, method, params };
  const response = await at.client.post('/sse/subscription', body);
  return [response.status, await response.json()];
}

describe('a session', () => {
  test('is told first, then what it subscribed to, in the words of the dialect', async () => {
    const contextId = await client.open('kv-store');
    using stream = await connect();
    const { sessionId } = stream;
    expect(stream.events).toEqual([
      {
        id: `${sessionId}-0`,
        event: 'message',
        data: { type: 'connect', session_id: sessionId, reconnect: false },
      },
    ]);
    expect(stream.retryMs).toBe(3_000);

    expect(await change('subscribe', sessionId, { contextIds: [contextId] })).toEqual([
      200,
      { result: { status: 'subscribed', contexts: [contextId] } },
    ]);
    const { result } = await set(contextId, 'a');
    await eventually(() => stream.events.length === 5);

    const { hash } = result ?? {};
    expect(stream.events[1]).toEqual({
      id: null,
      event: 'message',
      data: {
        result: {
          contextId,
          type: 'TransactionExecuted',
          data: { hash },
          sequence: '2',
          hash,
        },
      },
    });
    // Only who has all of a transaction is behind it.
    expect(stream.events.map(({ id }) => id).slice(1)).toEqual([
      null,
      null,
      null,
      `${sessionId}-0.2`,
    ]);
    const info = await client.fetch(`/sse/session/${sessionId}`);
    expect(await info.json()).toMatchObject({
      result: { session_id: sessionId, contexts: [{ contextId, since: '1', kinds: null }] },
    });
    expect(await change('unsubscribe', sessionId, { contextIds: [contextId] })).toEqual([
      200,
      { result: { status: 'unsubscribed', unsubscribed: [contextId], requested: [contextId] } },
    ]);
  });

  test('can be changed at another replica than its stream is at', async () => {
    const [first, other] = [await client.open('kv-store'), await client.open('kv-store')];
    using stream = await connect();

    await change('subscribe', stream.sessionId, { contextIds: [first, other] }, second);
    await set(first, 'a');
    await set(other, 'a');
    await eventually(() => stream.results('ExecutionEvent').length === 2);
    await change('unsubscribe', stream.sessionId, { contextIds: [first] }, second);
    await change(
      'subscribe',
      stream.sessionId,
      { contextIds: [first], kinds: ['Removed'] },
      second,
    );
    await set(first, 'b');
    await client.mutate(first, 'remove', { key: 'a' });
    await eventually(() => stream.results('ExecutionEvent', first).length === 2);

    expect(sequences(stream, first)).toEqual([2]);
    expect(stream.results('ExecutionEvent', first)[1]?.['sequence']).toBe('4');
  });

  test('resumed without a position hears what is new only', async () => {
    const contextId = await client.open('kv-store');
    using before = await connect();
    await change('subscribe', before.sessionId, { contextIds: [contextId] });
    before[Symbol.dispose]();
    await set(contextId, 'missed');

    using after = await connect({ 'x-sse-session-id': before.sessionId }, second);
    expect(after.events[0]?.data).toMatchObject({
      session_id: before.sessionId,
      reconnect: true,
    });
    await set(contextId, 'new');
    await eventually(() => sequences(after, contextId).length === 1);

    expect(sequences(after, contextId)).toEqual([3]);
  });

  test('has one stream: a newer one ends the older', async () => {
    using older = await connect();
    using newer = await resume(older, second);

    await eventually(() => older.isEnded);

    expect(older.events.at(-1)).toMatchObject({ event: 'close' });
    expect(newer.isEnded).toBe(false);
  });

  test('is kept alive by comments', async () => {
    using stream = await connect();
    await eventually(() => stream.comments > 1);
    expect(stream.events).toHaveLength(1);
  });
});

test('no gap and no duplicate, however often a stream is cut and wherever it goes on', async () => {
  const contextIds = [await client.open('kv-store'), await client.open('kv-store')];
  const heads = new Map(contextIds.map((id) => [id, 1]));
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          writes: fc.array(fc.nat(1), { maxLength: 12 }),
          seen: fc.nat(20),
          isSecond: fc.boolean(),
        }),
        { minLength: 1, maxLength: 5 },
      ),
      async (steps) => {
        let stream = await connect();
        await change('subscribe', stream.sessionId, { contextIds });
        const starts = new Map(heads);
        const got = new Map<string, number[]>(contextIds.map((id) => [id, []]));
        const take = (from: SseClient) => {
          // Frames behind the last id belong to a transaction that was cut: it comes again.
          const whole = from.events.findLastIndex(({ id }) => id === from.lastEventId);
          for (const { data } of from.events.slice(0, whole + 1)) {
            const result = data['result'] as Record<string, string> | undefined;
            if (result?.['type'] !== 'TransactionExecuted') continue;
            got.get(result['contextId'] ?? '')?.push(Number(result['sequence']));
          }
        };
        for (const { writes, seen, isSecond } of steps) {
          const writing = Promise.all(
            writes.map(async (which) => {
              const id = contextIds[which] ?? '';
              heads.set(id, (heads.get(id) ?? 0) + 1);
              await set(id, 'k');
            }),
          );
          const events = Math.min(seen, writes.length * 3);
          await eventually(() => stream.events.length >= events);
          stream[Symbol.dispose]();
          take(stream);
          stream = await resume(stream, isSecond ? second : node);
          await writing;
        }
        const isDone = () =>
          contextIds.every((id) => {
            const last = sequences(stream, id).at(-1) ?? got.get(id)?.at(-1) ?? starts.get(id);
            return last === heads.get(id);
          });
        await eventually(isDone);
        await eventually(() => stream.events.at(-1)?.id !== null);
        stream[Symbol.dispose]();
        take(stream);
        for (const id of contextIds) {
          expect(got.get(id)).toEqual(range((starts.get(id) ?? 0) + 1, heads.get(id) ?? 0));
        }
      },
    ),
    { numRuns: 15 },
  );
}, 120_000);

describe('refusals', () => {
  test('say what is wrong', async () => {
    const contextId = await client.open('kv-store');
    using stream = await connect();
    const { sessionId } = stream;
    const unknown = 'AbCdEfGhJkLmNpQr';
    const status = async (...args: Parameters<typeof change>) => (await change(...args))[0];

    expect(await status('subscribe', unknown, { contextIds: [contextId] })).toBe(404);
    expect(await status('subscribe', 'nonsense!', { contextIds: [contextId] })).toBe(400);
    expect(await status('subscribe', sessionId, { contextIds: ['abc'] })).toBe(400);
    const many = await Promise.all(range(1, 9).map(() => client.open('kv-store')));
    expect(await change('subscribe', sessionId, { contextIds: many })).toEqual([
      400,
      { error: 'too many subscriptions: at most 8 per session' },
    ]);
    const since = { [contextId]: '99' };
    expect(await change('subscribe', sessionId, { contextIds: [contextId], since })).toEqual([
      409,
      { error: { type: 'ResyncRequired', data: { contextId, sequence: '99' } } },
    ]);
    expect((await client.fetch(`/sse/session/${unknown}`)).status).toBe(404);
    expect((await client.fetch('/sse', { method: 'DELETE' })).status).toBe(405);
    await expect(connect({ 'last-event-id': 'nonsense' })).rejects.toThrow(/400/);
    await expect(SseClient.connect(node.url, null)).rejects.toThrow(/401/);
  });

  test('keep a session to its own principal, and a stream to what it may follow', async () => {
    const [mine, other] = [await client.open('kv-store'), await client.open('kv-store')];
    const token = await shortToken(mine);
    using stream = await SseClient.connect(node.url, token);
    const subscribe = async (contextId: string, as: string) => {
      const body = {
        id: stream.sessionId,
        method: 'subscribe',
        params: { contextIds: [contextId] },
      };
      const headers = { authorization: `Bearer ${as}`, 'content-type': 'application/json' };
      const init = { method: 'POST', headers, body: JSON.stringify(body) };
      return (await client.fetch('/sse/subscription', init)).status;
    };

    expect(await subscribe(mine, client.token)).toBe(404);
    expect(await subscribe(other, token)).toBe(403);
    expect(await subscribe(mine, token)).toBe(200);

    await eventually(() => stream.isEnded);
    expect(stream.events.at(-1)?.data).toEqual({ type: 'close', reason: 'the token expired' });
  });
});

test('a replica that ends sends its streams away, and they go on at another', async () => {
  const contextId = await client.open('kv-store');
  const third = await startTestNode({ database: node.database, nodeName: 'third' });
  using stream = await connect({}, third);
  await change('subscribe', stream.sessionId, { contextIds: [contextId] });
  await set(contextId, 'a');
  await eventually(() => sequences(stream, contextId).length === 1);

  await third[Symbol.asyncDispose]();
  await set(contextId, 'b');
  using after = await resume(stream);
  await eventually(() => sequences(after, contextId).length === 1);

  expect(stream.events.at(-1)?.data).toEqual({ type: 'close', reason: 'service restart' });
  expect(sequences(after, contextId)).toEqual([3]);
});

/** A token of a few seconds, for the first identity of a context. */
async function shortToken(contextId: string): Promise<string> {
  const { identities } = await client.admin<{ identities: string[] }>(
    `/admin-api/contexts/${contextId}/identities-owned`,
  );
  const body = { contextId, executorPublicKey: identities[0] };
  const pair = await client.admin<{ access_token: string }>('/admin-api/generate-jwt-token', body);
  return pair.access_token;
}
