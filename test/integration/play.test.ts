import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseContextId } from '#shared/protocol/ids.ts';
import { verifyLog } from '../../services/sync/replay/verify-log.ts';
import type { Client, RpcAnswer } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { openTestDatabase, readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { WsClient } from '../support/ws-client.ts';

/** One script in each language: counts its runs under a key, tells of it, says who runs it where. */
const SCRIPTS = {
  javascript: `
    const count = (storage.getJson('runs') ?? 0) + 1;
    storage.setJson('runs', count);
    emit('Ran', count);
    ({ count, caller: CALLER_ID, context: CONTEXT_ID })`,
  rhai: `
    let count = (storage::get_json("runs") ?? 0) + 1;
    storage::set_json("runs", count);
    emit("Ran", count);
    #{ count: count, caller: CALLER_ID, context: CONTEXT_ID }`,
} as const;
const FAILING = {
  javascript: { throws: 'throw new Error("no")', loops: 'for (;;);', nonsense: 'let = ;' },
  rhai: { throws: 'throw "no"', loops: 'loop { }', nonsense: 'let = ;' },
} as const;

let node: TestNode;
let client: Client;
beforeAll(async () => {
  node = await startTestNode({ executor: { fuelPerCallMax: 50_000_000 } });
  client = node.client;
});
afterAll(() => node[Symbol.asyncDispose]());

const play = (
  contextId: string,
  engine: string,
  script: string,
  more: object = {},
): Promise<RpcAnswer> => client.rpc('play', { contextId, engine, script, ...more });

test.each(Object.entries(SCRIPTS))(
  'a script in %s runs on the state of a context, is told and can be run again from the log',
  async (engine, script) => {
    const contextId = await client.open('kv-store');
    await using listener = await WsClient.connect(node.url, client.token);
    await listener.subscribe([contextId]);

    const first = await play(contextId, engine, script, { requestId: 'one', reportFuel: true });
    const repeated = await play(contextId, engine, script, { requestId: 'one', reportFuel: true });
    await client.mutate(contextId, 'set', { key: 'a', value: 'b' });
    const second = await play(contextId, engine, script);

    const log = await readLog(node.database.serviceUrl, contextId);
    const caller = log[1]?.executorPublicKey;
    expect(first.result?.output).toEqual({ count: 1, caller, context: contextId });
    expect(Number(first.result?.fuelUsed)).toBeGreaterThan(0);
    expect(repeated.result).toEqual(first.result);
    expect(second.result?.output).toMatchObject({ count: 2 });
    expect(log.map(({ kind }) => kind)).toEqual(['init', 'play', 'mutate', 'play']);
    expect(log[1]).toMatchObject({ method: engine, payload: Buffer.from(script) });
    await eventually(() => listener.events('ExecutionEvent', contextId).length === 3);
    expect(listener.events('ExecutionEvent', contextId)[0]).toMatchObject({
      data: { events: [{ kind: 'Ran', data: [...Buffer.from('1')] }] },
    });
    await using database = openTestDatabase(node.database.serviceUrl);
    const verified = await verifyLog(database, parseContextId(contextId));
    expect(verified).toMatchObject({ outcome: 'verified', verified: log.length });
  },
);

test.each(Object.entries(FAILING))(
  'what ends a script in %s is one clear error, in the log without a change',
  async (engine, { throws, loops, nonsense }) => {
    const contextId = await client.open('kv-store');

    const thrown = await play(contextId, engine, throws);
    const looped = await play(contextId, engine, loops);
    const unread = await play(contextId, engine, nonsense);

    expect(thrown.error).toMatchObject({
      type: 'FunctionCallError',
      data: expect.stringMatching(/^guest panicked: .*no/),
    });
    expect(looped.error).toEqual({ type: 'FunctionCallError', data: 'out of fuel' });
    expect(unread.error).toMatchObject({
      type: 'FunctionCallError',
      data: expect.stringMatching(/1:\d+|line 1/),
    });
    const log = await readLog(node.database.serviceUrl, contextId);
    expect(log.slice(1).map(({ status }) => status)).toEqual(['failed', 'failed', 'failed']);
    expect(log.flatMap(({ changes }) => changes)).toEqual(log[0]?.changes);
  },
);

test('an unknown engine, and a script that is none, are refused and leave nothing', async () => {
  const contextId = await client.open('kv-store');

  const unknown = await play(contextId, 'lua', 'return 1');
  const missing = await client.rpc('play', { contextId, engine: 'javascript' });
  const large = await play(contextId, 'javascript', `/*${'x'.repeat(5_000_000)}*/`).catch(String);

  expect(unknown.error?.data).toBe('unknown variant `lua`, expected one of `javascript`, `rhai`');
  expect(missing.error).toEqual({ type: 'ParseError', data: 'missing field `script`' });
  expect(large).toMatch(/413/);
  expect(await readLog(node.database.serviceUrl, contextId)).toHaveLength(1);
});

test('a token of the context may mutate, but not go past its application', async () => {
  const contextId = await client.open('kv-store');
  const { access_token: token } = await tokenFor(contextId);
  const asked = { contextId, engine: 'javascript', script: '1' };

  const response = await client.fetch('/jsonrpc', {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'play', params: asked }),
  });

  expect(await response.json()).toMatchObject({
    error: { type: 'CallError', data: { type: 'Unauthorized' } },
  });
});

async function tokenFor(contextId: string): Promise<{ readonly access_token: string }> {
  const [executorPublicKey] = (
    await client.admin<{ identities: string[] }>(
      `/admin-api/contexts/${contextId}/identities-owned`,
    )
  ).identities;
  return await client.admin('/admin-api/generate-jwt-token', { contextId, executorPublicKey });
}
