import { JsonRpcClient } from '@calimero-network/calimero-client/lib/rpc/jsonrpc.js';
import {
  type NodeEvent,
  WsSubscriptionsClient,
} from '@calimero-network/calimero-client/lib/subscriptions/ws.js';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { startTestNode, type TestNode } from '../support/node.ts';

/** The published npm client of Calimero, unchanged, against a node. */

let node: TestNode;
let contextId: string;
let executorPublicKey: string;
beforeAll(async () => {
  node = await startTestNode();
  contextId = await node.client.open('kv-store');
  const { identities } = await node.client.admin<{ identities: string[] }>(
    `/admin-api/contexts/${contextId}/identities-owned`,
  );
  executorPublicKey = identities[0] ?? '';
});
afterAll(() => node[Symbol.asyncDispose]());

const TIMEOUT_MS = 10_000;

function connectRpc(token = node.client.token) {
  const client = new JsonRpcClient(node.url, '/jsonrpc', TIMEOUT_MS);
  const config = { headers: { Authorization: `Bearer ${token}` } };
  return (method: string, argsJson: object) =>
    client.execute({ contextId, method, argsJson, executorPublicKey }, config);
}

test('execute writes and reads', async () => {
  const execute = connectRpc();

  expect((await execute('set', { key: 'a', value: 'b' })).result?.output).toBeNull();
  expect((await execute('get', { key: 'a' })).result?.output).toBe('b');
});

test('an error arrives as one, with its type', async () => {
  const { error } = await connectRpc()('nope', {});

  expect(error?.error.name).toBe('FunctionCallError');
});

test('a request without a valid token is refused', async () => {
  const { error, result } = await connectRpc('wrong')('get', { key: 'a' });

  expect(result).toBeUndefined();
  expect(error?.error.name).toBe('UnknownServerError');
});

test('subscriptions deliver what execute changed, until unsubscribed', async () => {
  const execute = connectRpc();
  const subscriptions = new WsSubscriptionsClient(
    node.url.replace('http', 'ws'),
    `/ws?token=${node.client.token}`,
  );
  await subscriptions.connect();
  const events: NodeEvent[] = [];
  subscriptions.addCallback((event) => events.push(event));
  const changes = () => events.filter(({ type }) => type === 'StateMutation').length;

  // The client does not tell when the node has confirmed.
  subscriptions.subscribe([contextId]);
  let written = 0;
  await eventually(async () => {
    written += 1;
    await execute('set', { key: 'live', value: String(written) });
    return changes() >= 2;
  });
  expect(events.every((event) => event.contextId === contextId)).toBe(true);

  subscriptions.unsubscribe([contextId]);
  await eventually(async () => {
    const before = events.length;
    written += 1;
    await execute('set', { key: 'unheard', value: String(written) });
    await execute('get', { key: 'unheard' });
    return events.length === before;
  });
  subscriptions.disconnect();
});
