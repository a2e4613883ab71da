import { setImmediate as turn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { ContextId } from '#shared/domain/ids.ts';
import type { LogNotice } from '#shared/protocol/log-notice.ts';
import { ContextFeed } from './context-feed.ts';
import { Cursor, type Outlet } from './cursor.ts';
import { FakeLog } from './fake-log.ts';
import { Flusher } from './flusher.ts';
import type { Batch, FrameFormat } from './frame-view.ts';

const contextId = 'context' as ContextId;

/** One byte for each transaction: the last digits of its sequence. */
const format: FrameFormat = {
  key: 'test',
  encode: ({ sequence }) => ({ bytes: Buffer.from([Number(sequence % 256n)]), count: 1 }),
};

function createFeed(log: FakeLog, ringMax = 8): ContextFeed {
  const flusher = new Flusher();
  return new ContextFeed({
    contextId,
    log,
    onMove: (feed) => flusher.schedule(feed),
    ringMax,
    ringBytesMax: 1_000,
    onHeal: () => undefined,
    onError: () => undefined,
  });
}

/** Records what arrives; takes `credit` batches at a time. */
class Recorder implements Outlet {
  readonly seen: bigint[] = [];
  credit = Number.POSITIVE_INFINITY;
  isWritable(): boolean {
    return this.credit > 0;
  }
  write({ bytes, frames, next }: Batch): void {
    this.credit -= 1;
    expect(bytes.length).toBe(frames);
    const first = next - BigInt(frames);
    for (const [index, byte] of bytes.entries()) {
      const sequence = first + BigInt(index);
      expect(byte).toBe(Number(sequence % 256n));
      this.seen.push(sequence);
    }
  }
}

const range = (from: bigint, to: bigint) =>
  Array.from({ length: Number(to - from) + 1 }, (_, index) => from + BigInt(index));

async function settle(isDone: () => boolean): Promise<void> {
  for (let turns = 0; turns < 20_000 && !isDone(); turns += 1) await turn();
}

describe('ContextFeed', () => {
  it('starts at zero for a context that does not exist yet', async () => {
    const log = new FakeLog(contextId);
    const feed = createFeed(log);
    await feed.ready;
    expect(feed.head).toBe(0n);
    feed.accept(log.append());
    expect(feed.head).toBe(1n);
    expect(log.reads).toBe(1);
  });

  it('keeps what arrives while the head is being read', async () => {
    const log = new FakeLog(contextId);
    log.append();
    const feed = createFeed(log);
    feed.accept(log.append());
    feed.accept(log.append());
    await feed.ready;
    expect(feed.head).toBe(3n);
  });

  it('is healed by a beacon when nothing follows a lost notice', async () => {
    const log = new FakeLog(contextId);
    const feed = createFeed(log);
    await feed.ready;
    log.append();
    feed.accept({ contextId, sequence: 1n });
    await settle(() => feed.head === 1n);
    expect(feed.head).toBe(1n);
  });

  it('waits for a log that is away', async () => {
    const log = new FakeLog(contextId);
    log.append();
    log.failures = 2;
    const feed = createFeed(log);
    await feed.ready;
    expect(feed.head).toBe(1n);
  });

  it('shares one read among those who ask for the same page', async () => {
    const log = new FakeLog(contextId);
    for (let index = 0; index < 20; index += 1) log.append();
    const feed = createFeed(log);
    await feed.ready;
    const recorders = Array.from({ length: 500 }, () => new Recorder());
    for (const recorder of recorders) new Cursor(feed.view(format), recorder, 1n).pump();
    await settle(() => recorders.every(({ seen }) => seen.length === 20));
    for (const { seen } of recorders) expect(seen).toEqual(range(1n, 20n));
    expect(log.reads).toBe(2);
  });
});

type Step =
  | { readonly kind: 'append'; readonly fate: 'sent' | 'lost' | 'twice' | 'late' }
  | { readonly kind: 'join'; readonly back: number }
  | { readonly kind: 'stall' | 'drain'; readonly who: number }
  | { readonly kind: 'turn' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('append' as const),
      fate: fc.constantFrom('sent' as const, 'lost' as const, 'twice' as const, 'late' as const),
    }),
  },
  fc.record({ kind: fc.constant('join' as const), back: fc.nat(40) }),
  fc.record({ kind: fc.constantFrom('stall' as const, 'drain' as const), who: fc.nat(5) }),
  { weight: 3, arbitrary: fc.constant({ kind: 'turn' as const }) },
);

it('gives every subscriber each sequence from its start once and in order', async () => {
  await fc.assert(
    fc.asyncProperty(fc.nat(100), fc.array(step, { maxLength: 150 }), async (before, steps) => {
      const log = new FakeLog(contextId);
      for (let index = 0; index < before; index += 1) log.append();
      const feed = createFeed(log, 5);
      const subscribers: { recorder: Recorder; cursor: Cursor; start: bigint }[] = [];
      const late: LogNotice[] = [];
      for (const each of steps) await run(each);
      for (const notice of late.toReversed()) feed.accept(notice);
      feed.accept({ contextId, sequence: BigInt(log.rows.length) });
      for (const { recorder, cursor } of subscribers) {
        recorder.credit = Number.POSITIVE_INFINITY;
        cursor.pump();
      }
      const last = BigInt(log.rows.length);
      const isDone = () =>
        feed.head === last &&
        subscribers.every(
          ({ recorder, start }) => recorder.seen.length >= Number(last - start) + 1,
        );
      await settle(isDone);
      for (const { recorder, start } of subscribers) {
        expect(recorder.seen).toEqual(range(start, last));
      }
      feed.close();

      async function run(each: Step): Promise<void> {
        if (each.kind === 'turn') await turn();
        else if (each.kind === 'append') {
          const notice = log.append();
          if (each.fate === 'late') late.push(notice);
          if (each.fate === 'sent' || each.fate === 'twice') feed.accept(notice);
          if (each.fate === 'twice') feed.accept(notice);
        } else if (each.kind === 'join') {
          await feed.ready;
          const back = BigInt(each.back) > feed.head ? feed.head : BigInt(each.back);
          const start = feed.head - back + 1n;
          const recorder = new Recorder();
          const cursor = new Cursor(feed.view(format), recorder, start);
          cursor.pump();
          subscribers.push({ recorder, cursor, start });
        } else {
          const subscriber = subscribers[each.who];
          if (subscriber === undefined) return;
          subscriber.recorder.credit = each.kind === 'stall' ? 0 : 7;
          subscriber.cursor.pump();
        }
      }
    }),
    { numRuns: 200 },
  );
});
