import { createServer } from 'node:http';
import { connect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import type { AddressInfo } from 'node:net';
import { afterEach, expect, test, vi } from 'vitest';
import { AppError } from '#shared/domain/app-error.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { systemClock } from '#shared/util/clock.ts';
import type { ServiceDeps } from '../service.ts';
import { answerList } from './answer-list.ts';
import { createKoaDoor } from './koa-door.ts';

interface Source {
  pulled: number;
  isClosed: boolean;
}

let stack = new AsyncDisposableStack();
afterEach(async () => {
  const finished = stack;
  stack = new AsyncDisposableStack();
  await finished.disposeAsync();
});

/** Serves a list of numbers, each filled up to so many characters. */
async function serve(options: {
  readonly length: number;
  readonly filling?: number;
  readonly failAt?: number;
  readonly limit?: number | null;
  readonly idleMs?: number;
}): Promise<{ readonly url: string; readonly source: Source }> {
  const { length, filling = 0, failAt = Infinity, limit = null, idleMs = 60_000 } = options;
  const source: Source = { pulled: 0, isClosed: false };
  const deps = {
    bus: { subscribe: () => undefined },
    clock: systemClock,
    log: createLogger({ name: 'test', level: 'fatal' }),
  } as unknown as ServiceDeps;
  async function* pages(): AsyncGenerator<readonly number[]> {
    try {
      for (let at = 0; at < length; at += 10) {
        await turn();
        if (at >= failAt) throw new AppError('unavailable', 'the database is away');
        source.pulled += 10;
        yield Array.from({ length: Math.min(10, length - at) }, (_, i) => at + i);
      }
    } finally {
      source.isClosed = true;
    }
  }
  const handle = createKoaDoor(deps, [
    {
      method: 'get',
      path: '/list',
      rule: 'public',
      summary: 'A list.',
      handle: (context) =>
        answerList(context, {
          lead: { name: 'numbers' },
          name: 'items',
          pages: pages(),
          encode: (number) => ({ number, parts: [number, 'x'.repeat(filling)].values() }),
          limit,
          idleMs,
          cursorOf: (last, following) => `${last}-${following}`,
        }),
    },
  ]);
  const server = createServer(handle).listen(0, '127.0.0.1');
  stack.defer(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise((resolve) => server.once('listening', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/list`, source };
}

const asLines = { headers: { accept: 'application/x-ndjson' } };

async function settle(isDone: () => boolean): Promise<void> {
  for (let turns = 0; turns < 100_000 && !isDone(); turns += 1) await turn();
}

test('is one document of what was asked for, and where to go on', async () => {
  const { url, source } = await serve({ length: 25, limit: 12 });

  const response = await fetch(url);

  expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8');
  const { data } = (await response.json()) as { data: { items: unknown[] } };
  expect(data).toMatchObject({ name: 'numbers', next: '11-12' });
  expect(data.items).toHaveLength(12);
  expect(data.items[3]).toEqual({ number: 3, parts: [3, ''] });
  expect(source).toEqual({ pulled: 20, isClosed: true });
});

test('ends with null where there is no more, also when there is nothing', async () => {
  for (const length of [0, 12]) {
    const { url } = await serve({ length, limit: 12 });
    const { data } = (await (await fetch(url)).json()) as { data: { items: unknown[] } };
    expect(data).toMatchObject({ next: null });
    expect(data.items).toHaveLength(length);
  }
});

test('is a line for each item when those are asked for', async () => {
  const { url } = await serve({ length: 25 });
  const text = await (await fetch(url, asLines)).text();
  expect(text.split('\n')).toHaveLength(26);
  expect(JSON.parse(text.split('\n')[24] ?? '')).toEqual({ number: 24, parts: [24, ''] });
});

test('as a document of too many bytes it ends early, as lines it does not', async () => {
  const { url } = await serve({ length: 40, filling: 1_000_000 });
  const { data } = (await (await fetch(url)).json()) as {
    data: { items: unknown[]; next: string };
  };
  expect(data.items.length).toBeLessThan(20);
  expect(data.next).toBe(`${data.items.length - 1}-${data.items.length}`);
  const text = await (await fetch(url, asLines)).text();
  expect(text.length).toBeGreaterThan(40_000_000);
});

test('is read no faster than its caller takes it, and not at all when that is gone', async () => {
  const { url, source } = await serve({ length: 1_000_000, filling: 100_000 });
  const { port } = new URL(url);
  const socket = connect(Number(port), '127.0.0.1');
  socket.write('GET /list HTTP/1.1\r\nhost: x\r\naccept: application/x-ndjson\r\n\r\n');
  await new Promise((resolve) => socket.once('readable', resolve));

  // More than enough turns for all that the buffers of two sockets take.
  for (let turns = 0; turns < 10_000; turns += 1) await turn();
  expect(source.pulled).toBeLessThan(1_000);

  socket.destroy();
  await settle(() => source.isClosed);
  expect(source.isClosed).toBe(true);
  expect(source.pulled).toBeLessThan(1_000);
});

test('cuts off a caller that takes nothing for too long', async () => {
  const { url, source } = await serve({ length: 1_000_000, filling: 100_000, idleMs: 100 });
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  stack.defer(() => {
    socket.destroy();
  });
  socket.write('GET /list HTTP/1.1\r\nhost: x\r\naccept: application/x-ndjson\r\n\r\n');
  await new Promise((resolve) => socket.once('readable', resolve));

  await vi.waitUntil(() => source.isClosed, { timeout: 20_000 });
  expect(source.pulled).toBeLessThan(1_000);
});

test('a failure before the first bytes is an answer, one after them cuts the answer off', async () => {
  const early = await serve({ length: 100, failAt: 0 });
  const refused = await fetch(early.url);
  expect([refused.status, await refused.json()]).toEqual([503, { error: 'the database is away' }]);

  const late = await serve({ length: 100, failAt: 50, filling: 100_000 });
  const response = await fetch(late.url);
  expect(response.status).toBe(200);
  await expect(response.text()).rejects.toThrow();
});

test('HEAD has the headers and leaves nothing open', async () => {
  const { url, source } = await serve({ length: 100 });
  const response = await fetch(url, { ...asLines, method: 'HEAD' });
  expect([response.status, await response.text()]).toEqual([200, '']);
  expect(response.headers.get('content-type')).toBe('application/x-ndjson');
  await settle(() => source.isClosed);
  expect(source.isClosed).toBe(true);
});
