import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { WsClient } from '../support/ws-client.ts';

let node: TestNode;
let client: Client;

beforeAll(async () => {
  node = await startTestNode({
    auth: { accessTokenMs: 3_000 },
    fanout: { authenticateMs: 500, unauthenticatedMax: 3, callsPerConnectionMax: 8 },
  });
  client = node.client;
});
afterAll(() => node[Symbol.asyncDispose]());

const authenticate = (token: string, id = 1) => ({ id, method: 'authenticate', params: { token } });
const set = (contextId: string, key: string) =>
  client.mutate(contextId, 'set', { key, value: key });

/** A token of a few seconds, for the first identity of a context. */
async function shortToken(contextId: string): Promise<string> {
  const { identities } = await client.admin<{ identities: string[] }>(
    `/admin-api/contexts/${contextId}/identities-owned`,
  );
  const body = { contextId, executorPublicKey: identities[0] };
  const pair = await client.admin<{ access_token: string }>('/admin-api/generate-jwt-token', body);
  return pair.access_token;
}

describe('a browser', () => {
  test('sends its token as a subprotocol, which is never echoed', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await WsClient.connect(node.url, null, [
      'cairn.v1',
      `cairn.token.${client.token}`,
    ]);

    expect(ws.socket.protocol).toBe('cairn.v1');
    expect((await ws.subscribe([contextId])).error).toBeUndefined();
    const alone = WsClient.connect(node.url, null, [`cairn.token.${client.token}`]);
    await expect(alone).rejects.toThrow(/subprotocol/);
    const wrong = WsClient.connect(node.url, null, ['cairn.v1', 'cairn.token.wrong']);
    await expect(wrong).rejects.toThrow(/401/);
  });

  test('sends its token as the first message', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await WsClient.connect(node.url, null);

    expect(await ws.request(authenticate(client.token, 5))).toEqual({
      id: 5,
      result: { principal: 'admin', expiresMs: null },
    });
    expect((await ws.subscribe([contextId])).error).toBeUndefined();
  });

  test('without a token can do nothing, and not for long', async () => {
    const contextId = await client.open('kv-store');
    await using silent = await WsClient.connect(node.url, null);
    await using hasty = await WsClient.connect(node.url, null);
    await using wrong = await WsClient.connect(node.url, null);

    await expect(WsClient.connect(node.url, null)).rejects.toThrow(/401/);
    expect((await hasty.subscribe([contextId])).error?.type).toBe('Unauthorized');
    expect((await wrong.request(authenticate('nonsense'))).error?.type).toBe('Unauthorized');

    for (const ws of [hasty, wrong, silent]) await eventually(() => ws.closed?.code === 4401);
    await using again = await WsClient.connect(node.url, null);
    expect((await again.request(authenticate(client.token))).error).toBeUndefined();
  });
});

describe('a token', () => {
  test('that expires ends its connection then', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await WsClient.connect(node.url, await shortToken(contextId));
    await ws.subscribe([contextId]);

    await eventually(() => ws.closed);

    expect(ws.closed).toEqual({ code: 4401, reason: 'the token expired' });
  });

  test('can be followed by a fresh one on the open connection', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await WsClient.connect(node.url, await shortToken(contextId));
    await using left = await WsClient.connect(node.url, await shortToken(contextId));
    await ws.subscribe([contextId]);

    const refused = await ws.request(authenticate('nonsense', 2));
    const answer = await ws.request(authenticate(client.token, 3));
    await eventually(() => left.closed?.code === 4401);
    await set(contextId, 'a');
    await eventually(() => ws.events('TransactionExecuted').length === 1);

    expect(refused.error?.type).toBe('Unauthorized');
    expect(answer.result).toEqual({ principal: 'admin', expiresMs: null });
  });

  test('of another context takes the subscriptions of this one away', async () => {
    const [mine, other] = [await client.open('kv-store'), await client.open('kv-store')];
    await using ws = await WsClient.connect(node.url, client.token);
    await ws.subscribe([mine]);

    const answer = await ws.request(authenticate(await shortToken(other), 2));
    await eventually(() => ws.closed?.code === 1008);

    expect(answer.result?.['expiresMs']).toBeGreaterThan(0);
  });
});

describe('kinds', () => {
  test('leave only the events of these kinds, for this subscription', async () => {
    const contextId = await client.open('kv-store');
    await using all = await WsClient.connect(node.url, client.token);
    await using some = await WsClient.connect(node.url, client.token);
    await all.subscribe([contextId]);
    const params = { contextIds: [contextId], kinds: ['Removed', 'Removed'] };
    await some.request({ id: 1, method: 'subscribe', params });

    await set(contextId, 'a');
    await client.mutate(contextId, 'remove', { key: 'a' });
    await set(contextId, 'b');
    await eventually(() => all.events('TransactionExecuted').length === 3);
    await eventually(() => some.events('ExecutionEvent').length === 1);

    expect(some.frames.slice(1).map(({ result }) => result)).toMatchObject([
      { type: 'OutcomeEvent', sequence: '3', data: { events: [{ kind: 'Removed' }] } },
      { type: 'ExecutionEvent', sequence: '3', data: { events: [{ kind: 'Removed' }] } },
    ]);
  });

  test.each([[[]], ['Removed'], [[5]]])('%j is a ParseError', async (kinds) => {
    await using ws = await WsClient.connect(node.url, client.token);

    const params = { contextIds: [], kinds };
    const { error } = await ws.request({ id: 1, method: 'subscribe', params });

    expect(error).toEqual({ type: 'ParseError', data: expect.stringMatching(/`kinds`/) });
  });
});

describe('calls', () => {
  test('are answered as over HTTP, also while events arrive', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await WsClient.connect(node.url, client.token);
    await ws.subscribe([contextId]);
    const call = (id: number, method: string, name: string, argsJson: unknown) => ({
      jsonrpc: '2.0',
      id,
      method,
      params: { contextId, method: name, argsJson },
    });

    const written = await ws.request(call(2, 'mutate', 'set', { key: 'a', value: 'b' }));
    const { jsonrpc: _, ...bare } = call(3, 'query', 'get', { key: 'a' });
    const read = await ws.request(bare);
    const wrong = await ws.request(call(4, 'query', 'missing', {}));
    await eventually(() => ws.events('TransactionExecuted').length === 1);

    const { jsonrpc, ...overHttp } = (await client.rpc(
      'query',
      {
        contextId,
        method: 'get',
        argsJson: { key: 'a' },
      },
      3,
    )) as unknown as Record<string, unknown>;
    expect(written.result).toMatchObject({ sequence: '2' });
    expect(read).toEqual({ jsonrpc, ...overHttp });
    expect(wrong.error).toEqual({ type: 'FunctionCallError', data: 'method "missing" not found' });
  });

  test('need the permissions that they need over HTTP', async () => {
    const [mine, other] = [await client.open('kv-store'), await client.open('kv-store')];
    await using ws = await WsClient.connect(node.url, await shortToken(mine));
    const params = { contextId: other, method: 'get', argsJson: { key: 'a' } };

    const { error } = await ws.request({ id: 1, method: 'query', params });

    expect(error).toMatchObject({ type: 'CallError', data: { type: 'Unauthorized' } });
  });

  test('that are too many at once are refused, each with its own answer', async () => {
    const contextId = await client.open('kv-store');
    await using ws = await WsClient.connect(node.url, client.token);
    const ids = Array.from({ length: 40 }, (_, index) => index + 1);

    const answers = await Promise.all(
      ids.map((id) =>
        ws.request({
          id,
          method: 'mutate',
          params: { contextId, method: 'set', argsJson: { key: `${id}`, value: 'v' } },
        }),
      ),
    );

    const refused = answers.filter(({ error }) => error !== undefined);
    expect(answers.length - refused.length).toBeGreaterThanOrEqual(8);
    expect(refused.length).toBeGreaterThan(0);
    for (const { error } of refused) {
      expect(error?.data).toEqual({ retryable: true, reason: 'too many calls are under way' });
    }
  });
});
