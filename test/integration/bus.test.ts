import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type NatsConnection } from 'nats';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bus } from '#shared/bus/bus.ts';
import { connectNats } from '#shared/bus/nats-bus.ts';
import { writeMessages } from '#shared/bus/request-batch.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { startNatsServer } from '../../services/standalone/nats-server.ts';
import { eventually } from '../support/eventually.ts';

let stack: AsyncDisposableStack;
let asking: Bus;
let answering: Bus;
let raw: NatsConnection;
let natsDirectory: string;

beforeAll(async () => {
  stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'cairn-bus-'));
  stack.defer(() => rm(directory, { recursive: true }));
  natsDirectory = join(directory, 'nats');
  const log = createLogger({ name: 'test', level: 'silent' });
  const { url } = stack.use(await startNatsServer({ directory, password: 'p', log }));
  asking = stack.use(await connectNats(url, 'asking'));
  answering = stack.use(await connectNats(url, 'answering'));
  const { host, username, password } = new URL(url);
  raw = await connect({
    servers: host,
    user: username,
    pass: password,
    maxReconnectAttempts: -1,
    reconnectTimeWait: 50,
  });
  stack.defer(() => raw.close());
});

afterAll(() => stack.disposeAsync());

const inMs = (ms: number) => ({ deadlineMs: Date.now() + ms });
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString();
const ask = (bus: Bus, subject: string, payload: string, ms = 5_000) =>
  bus.request(subject, Buffer.from(payload), inMs(ms)).then(text);

describe('requests', () => {
  test('of one tick travel in one message, and so do their answers', async () => {
    const subscription = answering.respond('test.echo', null, async (payload) =>
      Buffer.from(`${text(payload)}!`),
    );
    await eventually(async () => (await ask(asking, 'test.echo', 'x')) === 'x!');
    let messages = 0;
    const spy = raw.subscribe('test.echo', { callback: () => (messages += 1) });
    await raw.flush();

    const answers = await Promise.all(
      Array.from({ length: 500 }, (_, i) => ask(asking, 'test.echo', `${i}`)),
    );

    expect(answers).toEqual(Array.from({ length: 500 }, (_, i) => `${i}!`));
    expect(messages).toBe(1);
    spy.unsubscribe();
    await subscription.drain();
  });

  test('are answered as they finish, and refused each for itself', async () => {
    let release: (bytes: Uint8Array) => void = () => undefined;
    const subscription = answering.respond('test.mixed', null, async (payload) => {
      switch (text(payload)) {
        case 'slow':
          return await new Promise<Uint8Array>((resolve) => {
            release = resolve;
          });
        case 'refused':
          throw new AppError('context_not_found', 'no such context', { contextId: 'c' });
        case 'broken':
          throw new Error('a secret');
        default:
          return payload;
      }
    });
    await eventually(async () => (await ask(asking, 'test.mixed', 'x')) === 'x');

    const slow = ask(asking, 'test.mixed', 'slow');
    const refused = ask(asking, 'test.mixed', 'refused');
    const broken = ask(asking, 'test.mixed', 'broken');
    const quick = ask(asking, 'test.mixed', 'quick');

    await expect(refused).rejects.toMatchObject({
      code: 'context_not_found',
      details: { contextId: 'c' },
    });
    await expect(broken).rejects.toMatchObject({ code: 'internal', message: 'internal error' });
    expect(await quick).toBe('quick');
    release(Buffer.from('done'));
    expect(await slow).toBe('done');
    await subscription.drain();
  });

  test('that nobody listens to are unavailable at once, all of a message', async () => {
    const asked = Array.from({ length: 20 }, () => ask(asking, 'test.nobody', 'x', 60_000));

    for (const one of await Promise.allSettled(asked)) {
      expect(one).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } });
    }
  });

  test('larger than a message, and such answers, arrive whole among others', async () => {
    const subscription = answering.respond('test.large', null, async (payload) =>
      Buffer.concat([payload, payload]),
    );
    const large = Buffer.alloc(20_000_000, 'large');
    await eventually(async () => (await ask(asking, 'test.large', 'x')) === 'xx');

    const [first, second, small] = await Promise.all([
      asking.request('test.large', large, inMs(30_000)),
      asking.request('test.large', large.subarray(1), inMs(30_000)),
      ask(asking, 'test.large', 'small'),
    ]);

    expect(Buffer.compare(first, Buffer.concat([large, large]))).toBe(0);
    expect(second).toHaveLength(39_999_998);
    expect(small).toBe('smallsmall');
    await subscription.drain();
  });

  test('end at their deadline, before and after they are sent', async () => {
    const subscription = answering.respond('test.never', null, () => new Promise(() => undefined));

    await expect(ask(asking, 'test.never', 'x', 0)).rejects.toMatchObject({ code: 'timeout' });
    await expect(ask(asking, 'test.never', 'x', 50)).rejects.toMatchObject({ code: 'timeout' });
    await subscription.drain();
  });

  test('that arrive after their deadline are dropped, not run', async () => {
    const run: string[] = [];
    const subscription = answering.respond('test.late', null, async (payload) => {
      run.push(text(payload));
      return payload;
    });
    await eventually(async () => (await ask(asking, 'test.late', 'ready')) === 'ready');
    const send = (payload: string, sentAtMs: number) => {
      const entry = {
        id: 1,
        kind: 'request',
        waitMs: 1_000,
        payload: Buffer.from(payload),
      } as const;
      writeMessages([entry], { bytesMax: 1_000, sentAtMs }, (message) =>
        raw.publish('test.late', message, { reply: 'test.late-inbox.1.1' }),
      );
    };

    send('on time', 1_000_000);
    send('900 ms late', 999_100);
    send('1100 ms late', 998_900);
    raw.publish('test.late', Buffer.from('no message of ours'), { reply: 'test.late-inbox.1.1' });
    send('on time again', 1_000_000);

    await eventually(() => run.includes('on time again'));
    expect(run.slice(1)).toEqual(['on time', '900 ms late', 'on time again']);
    await subscription.drain();
  });
});

describe('a responder that is drained', () => {
  test('answers what is on its way', async () => {
    const subscription = answering.respond('test.drained', null, async (payload) => payload);
    await eventually(async () => (await ask(asking, 'test.drained', 'x')) === 'x');

    const asked = Array.from({ length: 50 }, (_, i) => ask(asking, 'test.drained', `${i}`));
    await new Promise((resolve) => setImmediate(resolve));
    await subscription.drain();

    expect(await Promise.all(asked)).toEqual(asked.map((_, i) => `${i}`));
    await expect(ask(asking, 'test.drained', 'x')).rejects.toMatchObject({ code: 'unavailable' });
  });
});

describe('when NATS goes away', () => {
  test('requests are unavailable at once, and answered again when it is back', async () => {
    const subscription = answering.respond('test.restart', null, async (payload) => payload);
    await eventually(async () => (await ask(asking, 'test.restart', 'x')) === 'x');
    const pid = Number(await readFile(join(natsDirectory, 'nats.pid'), 'utf8'));

    process.kill(pid, 'SIGKILL');
    await eventually(() => !asking.isConnected());
    await expect(ask(asking, 'test.restart', 'x', 60_000)).rejects.toMatchObject({
      code: 'unavailable',
    });

    await eventually(() => asking.isConnected() && answering.isConnected());
    await eventually(
      async () => (await ask(asking, 'test.restart', 'y').catch(() => null)) === 'y',
    );
    await subscription.drain();
  });
});
