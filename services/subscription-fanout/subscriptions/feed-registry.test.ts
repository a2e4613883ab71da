import { expect, it } from 'vitest';
import type { Bus, NoticeHandler } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { encodeNotice } from '#shared/protocol/log-notice.ts';
import { systemClock } from '#shared/util/clock.ts';
import { ContextFeed } from '../delivery/context-feed.ts';
import { FakeLog } from '../delivery/fake-log.ts';
import { FeedRegistry } from './feed-registry.ts';

const ids = ['a', 'b', 'c'].map((name) => name as ContextId);
const [a, b, c] = ids as [ContextId, ContextId, ContextId];

it('goes on following a context for a while, so that who comes back needs no log', async () => {
  const { registry, logs, publish, release } = createRegistry({ lingerMs: 60_000 });
  const feed = registry.acquire(a);
  await feed?.ready;
  registry.release(a);

  const notice = logs.get(a)?.append();
  if (notice !== undefined) publish(a, encodeNotice(notice));
  const again = registry.acquire(a);

  expect(again).toBe(feed);
  expect(again?.head).toBe(1n);
  expect(logs.get(a)?.reads).toBe(1);
  release();
});

it('ends those that were left first when too many are followed for nobody', () => {
  const { registry, followed, release } = createRegistry({ lingerMs: 60_000 });
  for (const id of ids) registry.acquire(id);
  for (const id of ids) registry.release(id);

  expect(followed()).toEqual([b, c]);
  release();
});

it('gives up a context that nobody listens to for one that somebody wants', () => {
  const { registry, followed, release } = createRegistry({ lingerMs: 60_000, contextsMax: 2 });
  registry.acquire(a);
  registry.acquire(b);
  expect(registry.acquire(c)).toBeNull();
  registry.release(a);

  expect(registry.acquire(c)).not.toBeNull();
  expect(followed()).toEqual([b, c]);
  release();
});

it('ends a context when its time is over', async () => {
  const { registry, followed, release } = createRegistry({ lingerMs: 20 });
  registry.acquire(a);
  registry.release(a);
  registry.acquire(b);
  expect(followed()).toEqual([a, b]);

  await expect.poll(followed).toEqual([b]);
  release();
});

function createRegistry({
  lingerMs,
  contextsMax = 10,
}: {
  readonly lingerMs: number;
  readonly contextsMax?: number;
}) {
  const handlers = new Map<string, NoticeHandler>();
  const logs = new Map<ContextId, FakeLog>();
  const bus: Pick<Bus, 'subscribe' | 'onReconnect'> = {
    subscribe: (subject, handler) => {
      handlers.set(subject, handler);
      return { unsubscribe: () => void handlers.delete(subject) };
    },
    onReconnect: () => undefined,
  };
  const fail = (error: unknown) => {
    throw error;
  };
  const registry = new FeedRegistry({
    bus: bus as Bus,
    clock: systemClock,
    contextsMax,
    lingerMs,
    lingerContextsMax: 2,
    onError: fail,
    open: (contextId, onMove) => {
      const log = new FakeLog(contextId);
      logs.set(contextId, log);
      const limits = { ringMax: 10, ringBytesMax: 10_000 };
      return new ContextFeed({
        contextId,
        log,
        onMove,
        onHeal: () => undefined,
        onError: fail,
        ...limits,
      });
    },
  });
  return {
    registry,
    logs,
    publish: (id: ContextId, payload: Uint8Array) =>
      handlers.get(subjects.log(id))?.(payload, subjects.log(id)),
    followed: () => ids.filter((id) => handlers.has(subjects.log(id))),
    release: () => registry.close(),
  };
}
