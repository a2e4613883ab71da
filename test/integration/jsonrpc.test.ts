import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '#shared/store/database.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import { readTransactions } from '#shared/store/log-reader.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import { oddGuest } from '../guests/odd-guest.ts';
import type { Client, RpcAnswer } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { assemble } from '../support/wat.ts';

let node: TestNode;
let client: Client;
let kv: string;
let odd: string;

beforeAll(async () => {
  node = await startTestNode({ executor: { wallClockMs: 500, workers: 1 } });
  client = node.client;
  kv = await client.open('kv-store');
  odd = await client.open(assemble(oddGuest(2)));
});
afterAll(() => node[Symbol.asyncDispose]());

describe('query, mutate and execute', () => {
  test('what was mutated is queried', async () => {
    const written = await client.mutate(kv, 'set', { key: 'a', value: '1' });
    const read = await client.query(kv, 'get', { key: 'a' });

    expect(written).toEqual({
      jsonrpc: '2.0',
      id: 1,
      result: { output: null, sequence: expect.stringMatching(/^\d+$/), hash: expect.any(String) },
    });
    expect(read).toEqual({ jsonrpc: '2.0', id: 1, result: { output: '1' } });
  });

  test.each(['text', 0, 9_007_199_254_740_991, null])(
    'the id %j comes back as it was',
    async (id) => {
      const answer = await client.rpc('query', { contextId: kv, method: 'len', argsJson: {} }, id);

      expect(answer.id).toBe(id);
    },
  );

  test('numbers beyond 2^53, in ids, arguments and output, stay what they are', async () => {
    const response = await client.post(
      '/jsonrpc',
      `{"jsonrpc":"2.0","id":18446744073709551615,"method":"query","params":{"contextId":"${odd}",` +
        `"method":"echo","argsJson":{"z":1,"n":18446744073709551615,"m":-9223372036854775808,"a":2}}}`,
    );

    expect(await response.text()).toBe(
      '{"jsonrpc":"2.0","id":18446744073709551615,"result":{"output":' +
        '{"a":2,"m":-9223372036854775808,"n":18446744073709551615,"z":1}}}',
    );
  });

  test('execute leaves a transaction only where it wrote, emitted or committed another root', async () => {
    const head = await sequenceOf(odd);
    const silent = await client.execute(odd, 'echo');
    const same = await client.execute(odd, 'init');
    const failed = await client.execute(odd, 'fail_after_write');

    expect([silent, same].map(({ result }) => result?.sequence)).toEqual([undefined, undefined]);
    expect(failed.error?.type).toBe('FunctionCallError');
    expect(await sequenceOf(odd)).toBe(head);

    const root = 'r'.repeat(32);
    const positions: (string | undefined)[] = [];
    for (const [method, args] of [
      ['events_100', {}],
      ['commit', root],
      ['commit', root],
    ] as const) {
      positions.push((await client.execute(odd, method, args)).result?.sequence);
    }
    expect(positions).toEqual([String(head + 1n), String(head + 2n), undefined]);
  });

  test('mutate always leaves a transaction, also when the guest fails', async () => {
    const head = await sequenceOf(odd);
    await client.mutate(odd, 'echo', {});
    const failed = await client.mutate(odd, 'trap_unreachable', {});

    expect(failed.error).toEqual({ type: 'FunctionCallError', data: 'unreachable code reached' });
    expect(await sequenceOf(odd)).toBe(head + 2n);
  });

  test('a call may name its executor, who must be a member', async () => {
    const { identities } = await client.admin<{ identities: string[] }>(
      `/admin-api/contexts/${kv}/identities`,
    );
    const [member = ''] = identities;
    const stranger = kv;
    const argsJson = { key: 'who', value: 'x' };

    const own = await client.execute(kv, 'set', argsJson, { executorPublicKey: member });
    const other = await client.execute(kv, 'set', argsJson, { executorPublicKey: stranger });

    expect(own.error).toBeUndefined();
    expect(other.error).toEqual({
      type: 'CallError',
      data: { type: 'Unauthorized', data: { context_id: kv, public_key: stranger } },
    });
  });
});

describe('errors', () => {
  const UNKNOWN = '1'.repeat(32);

  test.each<[string, string, object, RpcAnswer['error']]>([
    [
      'no such method',
      'query',
      { method: 'nope' },
      { type: 'FunctionCallError', data: 'method "nope" not found' },
    ],
    [
      'a memory as method',
      'mutate',
      { method: 'memory' },
      { type: 'FunctionCallError', data: 'method "memory" not found' },
    ],
    [
      'a write in a query',
      'query',
      { method: 'set', argsJson: { key: 'a', value: 'b' } },
      {
        type: 'FunctionCallError',
        data: 'host panicked: not implemented: Can not write to read-only store.',
      },
    ],
    [
      'no such context',
      'mutate',
      { contextId: UNKNOWN },
      { type: 'CallError', data: { type: 'ContextNotFound', data: { context_id: UNKNOWN } } },
    ],
    [
      'an unknown verb',
      'delete',
      {},
      {
        type: 'ParseError',
        data: 'unknown variant `delete`, expected one of `query`, `mutate`, `execute`, `play`',
      },
    ],
    [
      'no method',
      'query',
      { method: undefined },
      { type: 'ParseError', data: 'missing field `method`' },
    ],
    [
      'a number as method',
      'query',
      { method: 5 },
      { type: 'ParseError', data: 'invalid type: integer `5`, expected a string for `method`' },
    ],
    [
      'no arguments',
      'query',
      { argsJson: undefined },
      { type: 'ParseError', data: 'missing field `argsJson`' },
    ],
    [
      'a short context id',
      'query',
      { contextId: 'abc' },
      { type: 'ParseError', data: 'invalid length 3, expected a base58 encoded hash' },
    ],
  ])('%s', async (_name, verb, change, error) => {
    const params = { contextId: kv, method: 'len', argsJson: {}, ...change };

    expect((await client.rpc(verb, params)).error).toEqual(error);
  });

  test('output that is no JSON, or no text, is a SerdeError', async () => {
    for (const method of ['not_json', 'bad_utf8_output']) {
      expect((await client.query(odd, method)).error?.type).toBe('SerdeError');
    }
  });

  test.each<[string, string, number, RegExp]>([
    ['malformed JSON', '{"jsonrpc":', 400, /JSON/],
    ['an empty array', '[]', 422, /expected at least one request/],
    ['another version', '{"jsonrpc":"1.0","id":1}', 422, /expected "2.0"/],
    ['a negative id', '{"jsonrpc":"2.0","id":-1,"method":"query"}', 422, /request id/],
    [
      'deep nesting',
      `{"jsonrpc":"2.0","id":1,"method":"query","params":${'['.repeat(100_000)}`,
      400,
      /recursion|depth|nest/i,
    ],
  ])('%s is answered in plain text', async (_name, body, status, text) => {
    const response = await client.post('/jsonrpc', body);

    expect(response.status).toBe(status);
    expect(response.headers.get('content-type')).toMatch(/^text\/plain/);
    expect(await response.text()).toMatch(text);
  });

  test('invalid UTF-8, another content type, another verb, a body of 3 MB', async () => {
    const post = (body: string | Buffer, type = 'application/json') =>
      client.fetch('/jsonrpc', { method: 'POST', headers: { 'content-type': type }, body });
    const big = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'query', params: 'x'.repeat(3e6) });

    expect((await post(Buffer.from([0x7b, 0xff, 0x7d]))).status).toBe(400);
    expect((await post('{}', 'text/plain')).status).toBe(415);
    expect((await client.fetch('/jsonrpc')).status).toBe(405);
    const tooLarge = await post(big);
    expect([tooLarge.status, await tooLarge.text()]).toEqual([
      413,
      'the body is over 2097152 bytes',
    ]);
    expect((await client.query(kv, 'len')).error).toBeUndefined();
  });

  test('a caller without the token, or with a wrong one, is refused in plain text', async () => {
    for (const authorization of ['', 'Bearer nope', 'Basic abc']) {
      const response = await client.fetch('/jsonrpc', {
        method: 'POST',
        headers: { authorization },
      });

      expect(response.status).toBe(401);
      expect(await response.text()).toMatch(/^(a valid token is needed|Token not valid)/);
    }
  });
});

describe('an array of requests', () => {
  const request = (id: unknown, method: string, name: string, argsJson: unknown = {}) => ({
    jsonrpc: '2.0',
    id,
    method,
    params: { contextId: kv, method: name, argsJson },
  });
  const batch = async (requests: readonly unknown[]): Promise<RpcAnswer[]> => {
    const response = await client.post('/jsonrpc', requests);
    expect(response.status).toBe(200);
    return (await response.json()) as RpcAnswer[];
  };

  test('is answered by an array in the same order, each entry for itself', async () => {
    const contextId = await client.open('kv-store');
    const here = (id: number, method: string, name: string, args: unknown) => {
      const { params, ...rest } = request(id, method, name, args);
      return { ...rest, params: { ...params, contextId } };
    };

    const answers = await batch([
      here(1, 'mutate', 'set', { key: 'a', value: '1' }),
      here(2, 'mutate', 'set', { key: 'a', value: '2' }),
      here(3, 'query', 'get', { key: 'a' }),
      here(4, 'mutate', 'nope', {}),
      { jsonrpc: '2.0', id: 5, method: 'unknown', params: {} },
      7,
      { ...here(8, 'query', 'len', {}), params: { contextId: 'x', method: 'len', argsJson: {} } },
    ]);

    expect(answers.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, null, 8]);
    expect(answers.map(({ result }) => result?.sequence)).toEqual([
      '2',
      '3',
      ...Array.from({ length: 5 }, () => undefined),
    ]);
    expect(answers[2]?.result?.output).toBe('2');
    expect(answers.slice(3).map(({ error }) => error?.type)).toEqual([
      'FunctionCallError',
      'ParseError',
      'ParseError',
      'ParseError',
    ]);
  });

  test('has one effect for each request id in it, also for one that is there twice', async () => {
    const twice = request(1, 'mutate', 'set', { key: 'twice', value: 'x' });
    const named = { ...twice, params: { ...twice.params, requestId: 'in a batch' } };
    const head = await sequenceOf(kv);

    const [first, second] = await batch([named, { ...named, id: 2 }]);

    expect(second?.result).toEqual(first?.result);
    expect(await sequenceOf(kv)).toBe(head + 1n);
  });

  test('is bounded, and an empty one is an error', async () => {
    const many = Array.from({ length: 101 }, (_, i) => request(i, 'query', 'len'));

    const tooMany = await client.post('/jsonrpc', many);
    const none = await client.post('/jsonrpc', []);

    expect(tooMany.status).toBe(413);
    expect(await tooMany.text()).toBe('a batch has up to 100 requests, not 101');
    expect(none.status).toBe(422);
    expect(await batch(many.slice(1))).toHaveLength(100);
  });
});

describe('one request id, one effect, one answer', () => {
  test('sent again, concurrently and while the first still runs', async () => {
    const head = await sequenceOf(kv);
    const once = () =>
      client.mutate(kv, 'set', { key: 'once', value: 'x' }, { requestId: 'concurrent' });

    const answers = await Promise.all(Array.from({ length: 20 }, once));
    const later = await once();

    for (const answer of answers) expect(answer).toEqual(later);
    expect(later.result?.sequence).toBe(String(head + 1n));
    expect(await sequenceOf(kv)).toBe(head + 1n);
  });

  test('also when the first one failed', async () => {
    const requestId = 'failing';
    const first = await client.mutate(odd, 'fail', {}, { requestId });
    const second = await client.mutate(odd, 'fail', {}, { requestId });

    expect(first.error?.type).toBe('FunctionCallError');
    expect(second).toEqual(first);
  });

  test('another call under the same id is refused, and a query needs no id of its own', async () => {
    const options = { requestId: 'same' };
    const params = { contextId: kv, method: 'get', argsJson: { key: 'x' }, ...options };
    expect((await client.rpc('query', params)).error).toBeUndefined();
    const first = await client.mutate(kv, 'set', { key: 'x', value: '1' }, options);
    expect(first.result?.sequence).toBeDefined();

    const others = await Promise.all([
      client.mutate(kv, 'set', { key: 'x', value: '2' }, options),
      client.mutate(kv, 'remove', { key: 'x' }, options),
      client.execute(kv, 'set', { key: 'x', value: '1' }, options),
    ]);

    for (const { error } of others) {
      expect(error?.data).toEqual({
        retryable: false,
        reason: 'the requestId was used for another call',
      });
    }
    expect((await client.rpc('query', params)).result?.output).toBe('1');
  });

  test('ids of different contexts do not meet', async () => {
    const other = await client.open('kv-store');
    const params = { key: 'a', value: 'b' };
    const first = await client.mutate(kv, 'set', params, { requestId: 'shared' });
    const second = await client.mutate(other, 'set', params, { requestId: 'shared' });

    expect(first.result?.hash).not.toBe(second.result?.hash);
  });
});

describe('a guest that never ends', () => {
  test('is stopped, is told to retry, and takes nobody with it', async () => {
    const head = await sequenceOf(odd);
    const [spun, behind, beside] = await Promise.all([
      client.mutate(odd, 'spin', {}),
      setTimeout(20).then(() => client.mutate(odd, 'put', { after: 'spin' })),
      client.mutate(kv, 'set', { key: 'beside', value: 'spin' }),
    ]);

    expect(spun.error).toEqual({
      type: 'InternalError',
      data: { retryable: true, reason: 'execution took longer than 500 ms' },
    });
    expect(behind.error?.data).toEqual({
      retryable: true,
      reason: 'a call of this context took too long, try again later',
    });
    expect(beside.error).toBeUndefined();
    await eventually(async () => (await client.mutate(odd, 'put', { after: 'spin' })).result);
    expect(await sequenceOf(odd)).toBe(head + 1n);
    expect((await client.query(odd, 'get')).result?.output).toEqual({ after: 'spin' });
  });
});

test('many contexts and callers at once leave logs without gaps', async () => {
  const contexts = await Promise.all(Array.from({ length: 8 }, () => client.open('kv-store')));

  await Promise.all(
    contexts.flatMap((contextId) =>
      Array.from({ length: 25 }, (_, i) =>
        client.mutate(contextId, 'set', { key: `k${i}`, value: String(i) }),
      ),
    ),
  );

  await using database = openDatabase({
    url: node.database.serviceUrl,
    poolMax: 1,
    onError: () => undefined,
  });
  for (const contextId of contexts) {
    const id = parseContextId(contextId);
    const context = await findContext(database, id);
    const log = await readTransactions(database, context?.lineage ?? [], {
      from: 1n,
      limit: 100,
    });
    expect(log.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: 26 }, (_, i) => BigInt(i + 1)),
    );
    for (const [i, { priorHash }] of log.entries()) {
      expect(priorHash).toBe(log[i - 1]?.hash ?? '1'.repeat(32));
    }
  }
});

async function sequenceOf(contextId: string): Promise<bigint> {
  await using database = openDatabase({
    url: node.database.serviceUrl,
    poolMax: 1,
    onError: () => undefined,
  });
  const context = await findContext(database, parseContextId(contextId));
  return context?.head.sequence ?? 0n;
}
