import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import type { Bus, NoticeHandler } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { type Principal, UNRESTRICTED } from '#shared/domain/permissions.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { type ContextId, ZERO_ID } from '#shared/domain/ids.ts';
import { encodeNotice, type LogNotice } from '#shared/protocol/log-notice.ts';
import { TrustedProxies } from '#shared/service/trusted-proxies.ts';
import { systemClock } from '#shared/util/clock.ts';
import { systemRandom } from '#shared/util/random.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { fanoutConfigSchema } from '../config.ts';
import { ContextFeed } from '../delivery/context-feed.ts';
import type { Deliverer } from '../delivery/flusher.ts';
import { FakeLog } from '../delivery/fake-log.ts';
import { FeedRegistry } from '../subscriptions/feed-registry.ts';
import { Calls } from './calls.ts';
import { Connections } from './connections.ts';
import { webSocketFormat } from './web-socket-format.ts';

const contextId = ZERO_ID as ContextId;
const config = fanoutConfigSchema.parse({
  dialect: 'b',
  subscriptionsPerConnectionMax: 2,
  frameBytesMax: 65_536,
  outgoingBytesMax: 65_536,
  lagMs: 400,
});

let log: FakeLog;
const principal: Principal = {
  id: 'admin',
  kind: 'open',
  grants: UNRESTRICTED,
  executorPublicKey: null,
};
let handlers: Map<string, NoticeHandler>;
let connections: Connections;
let server: Server;
let clients: WebSocket[];

beforeEach(async () => {
  log = new FakeLog(contextId);
  handlers = new Map();
  clients = [];
  const registry = new FeedRegistry({
    bus: fakeBus(),
    clock: systemClock,
    contextsMax: 10,
    lingerMs: 0,
    lingerContextsMax: 10,
    onError: fail,
    open,
  });
  connections = new Connections({
    proxies: TrustedProxies.none,
    config,
    clock: systemClock,
    random: systemRandom,
    authenticate: async (request) => {
      if (request.url === '/ws?token=no') throw new AppError('unauthorized', 'no');
      return principal;
    },
    recheck: async () => principal,
    connection: {
      registry,
      formatOf: (kinds) => webSocketFormat(config.dialect, kinds),
      verify: async () => principal,
      calls: new Calls({
        callsMax: 1,
        log: createLogger({ name: 'test', level: 'fatal' }),
        execute: () => Promise.reject(new Error('nobody calls')),
      }),
      onDelivered: ignore,
      onCount: ignore,
      onError: fail,
    },
    onConnections: ignore,
  });
  registry.start();
  connections.start();
  server = createServer();
  server.on('upgrade', (request, socket, head) => void connections.upgrade(request, socket, head));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
});

afterEach(async () => {
  for (const client of clients) client.terminate();
  await connections.close();
  server.close();
});

it('answers in order, ignores garbage, delivers what follows the reply', async () => {
  const client = await connect();
  client.socket.send(Buffer.from('{"id":1}'), { binary: true });
  client.socket.send('garbage');
  client.socket.send('{"id":"text","method":"subscribe"}');
  client.socket.send('{"id":7,"method":"dance","params":{}}');
  client.socket.send(subscribeFrame(8, [contextId, contextId]));
  const [fault, echo] = await client.take(2);
  expect(fault).toMatchObject({ id: 7, error: { type: 'ParseError' } });
  expect(echo).toEqual({ id: 8, result: { contextIds: [contextId, contextId] } });
  publish(log.append());
  log.append();
  publish(log.append());
  expect(sequencesOf(await client.take(6))).toEqual(['1', '1', '2', '2', '3', '3']);
  client.socket.send(
    JSON.stringify({ id: 9, method: 'unsubscribe', params: { contextIds: [contextId] } }),
  );
  await client.take(1);
  expect(handlers.has(subjects.log(contextId))).toBe(false);
});

it('resumes from a position, or says why it cannot', async () => {
  for (let index = 0; index < 5; index += 1) log.append();
  const client = await connect();
  const since = (position: unknown) => subscribeFrame(1, [contextId], { [contextId]: position });
  client.socket.send(since('6'));
  client.socket.send(since({ sequence: '3', hash: 'other' }));
  client.socket.send(since({ sequence: '3', hash: 'hash-3' }));
  const [beyond, fork] = await client.take(2);
  expect(beyond).toMatchObject({ id: 1, error: { type: 'ResyncRequired' } });
  expect(fork).toEqual({
    id: 1,
    error: { type: 'ResyncRequired', data: { contextId, sequence: '3' } },
  });
  const [echo, ...events] = await client.take(5);
  expect(echo).toMatchObject({ id: 1, result: { contextIds: [contextId] } });
  expect(sequencesOf(events)).toEqual(['4', '4', '5', '5']);
});

it('refuses too many subscriptions, whole', async () => {
  const client = await connect();
  const ids = [ZERO_ID, `${'1'.repeat(31)}2`, `${'1'.repeat(31)}3`];
  client.socket.send(subscribeFrame(1, ids));
  expect(await client.take(1)).toEqual([
    {
      id: 1,
      error: { type: 'ParseError', data: 'too many subscriptions: at most 2 per connection' },
    },
  ]);
  expect(handlers.size).toBe(1);
});

it('refuses an upgrade without a principal', async () => {
  const socket = new WebSocket(`${url()}?token=no`);
  const status = await new Promise((resolve) =>
    socket.on('unexpected-response', (_request, response) => resolve(response.statusCode)),
  );
  expect(status).toBe(401);
});

it('lets a lagging client continue from where it stopped', async () => {
  const client = await connect();
  client.socket.send(subscribeFrame(1, [contextId]));
  await client.take(1);
  client.socket.pause();
  for (let index = 0; index < 200; index += 1) publish(log.append(30_000));
  await wait(100);
  client.socket.resume();
  const sequences = sequencesOf(await client.take(400));
  expect(sequences).toEqual(Array.from({ length: 400 }, (_, at) => String((at >> 1) + 1)));
});

it('closes a client that lags without progress', async () => {
  const client = await connect();
  client.socket.send(subscribeFrame(1, [contextId]));
  await client.take(1);
  client.socket.pause();
  for (let index = 0; index < 400; index += 1) publish(log.append(30_000));
  await wait(1_500);
  const closed = new Promise((resolve) => client.socket.on('close', (code) => resolve(code)));
  client.socket.resume();
  expect(await closed).toBe(4008);
});

it('closes many clients one after another, so that they do not come back at once', async () => {
  const closedMs: number[] = [];
  for (let index = 0; index < 60; index += 1) {
    const { socket } = await connect();
    socket.on('close', () => closedMs.push(performance.now()));
  }
  await connections.close();
  await expect.poll(() => closedMs.length).toBe(60);
  const order = closedMs.map((at) => Math.round(at));
  expect(new Set(order).size).toBeGreaterThan(1);
});

it('says behind what a client that was closed for lagging can resume', async () => {
  const client = await connect();
  client.socket.send(subscribeFrame(1, [contextId]));
  await client.take(1);
  client.socket.pause();
  for (let index = 0; index < 400; index += 1) publish(log.append(30_000));
  const closed = new Promise<string>((resolve) =>
    client.socket.on('close', (_code, reason) => resolve(reason.toString())),
  );
  await wait(1_500);
  client.socket.resume();
  const [, since = ''] = /^slow consumer, since (\{.*\})$/.exec(await closed) ?? [];
  const last = sequencesOf(client.frames).at(-1);

  expect(JSON.parse(since)).toEqual({ [contextId]: last });
});

it('tells clients that it goes away', async () => {
  const client = await connect();
  const closed = new Promise((resolve) => client.socket.on('close', (code) => resolve(code)));
  await connections.close();
  expect(await closed).toBe(1012);
});

function open(_contextId: ContextId, onMove: (feed: Deliverer) => void): ContextFeed {
  return new ContextFeed({
    contextId,
    log,
    onMove,
    ringMax: 10,
    ringBytesMax: 1_000_000,
    onHeal: ignore,
    onError: fail,
  });
}

function fakeBus(): Bus {
  return {
    publish: ignore,
    subscribe: (subject, handler) => {
      handlers.set(subject, handler);
      return { unsubscribe: () => void handlers.delete(subject) };
    },
    respond: () => ({ drain: async () => undefined }),
    request: async () => new Uint8Array(),
    isConnected: () => true,
    onReconnect: ignore,
    [Symbol.asyncDispose]: async () => undefined,
  };
}

function publish(notice: LogNotice): void {
  const subject = subjects.log(notice.contextId);
  handlers.get(subject)?.(encodeNotice(notice), subject);
}

function subscribeFrame(id: number, contextIds: readonly string[], since?: object): string {
  return JSON.stringify({ id, method: 'subscribe', params: { contextIds, since } });
}

function sequencesOf(frames: readonly unknown[]): readonly string[] {
  return frames.map((frame) => (frame as { result: { sequence: string } }).result.sequence);
}

async function connect() {
  const socket = new WebSocket(url());
  clients.push(socket);
  const frames: unknown[] = [];
  socket.on('message', (data: Buffer) => frames.push(JSON.parse(data.toString())));
  await new Promise((resolve) => socket.on('open', resolve));
  return {
    socket,
    frames,
    take: async (count: number): Promise<readonly unknown[]> => {
      for (let left = 400; frames.length < count && left > 0; left -= 1) await wait(10);
      return frames.splice(0, count);
    },
  };
}

function url(): string {
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
}

function ignore(): void {}

function fail(error: unknown): void {
  throw error;
}
