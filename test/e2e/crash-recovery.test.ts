import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { Transaction } from '#shared/domain/transaction.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import { freePort } from '../../services/standalone/processes.ts';
import { verifyLog } from '../../services/sync/replay/verify-log.ts';
import type { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { openTestDatabase, readLog } from '../support/log.ts';
import { NodeProcess, readEmbeddedServers } from '../support/node-process.ts';
import { WsClient } from '../support/ws-client.ts';

const ROUNDS = 10;
const CONTEXTS = 20;
const WRITERS_PER_CONTEXT = 2;
const SUBSCRIBERS = 3;
/** A round kills the node after this many more acknowledgements at most, drawn at random. */
const ACKNOWLEDGED_MAX = 400;
const RETRY_MS = 20;

test('SIGKILL at random moments loses nothing that was acknowledged and doubles nothing', async () => {
  const data = await mkdtemp(join(tmpdir(), 'cairn-crash-'));
  try {
    await crashAndVerify(data);
  } finally {
    await rm(data, { recursive: true, force: true });
  }
}, 300_000);

async function crashAndVerify(data: string): Promise<void> {
  const port = await freePort();
  const start = () => NodeProcess.start({ data, port, args: ['--no-demo'] });
  let node = await start();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => node[Symbol.asyncDispose]());
  const { client } = node;
  const applicationId = await client.install('kv-store');
  const contextIds = await Promise.all(
    Array.from({ length: CONTEXTS }, () => client.createContext(applicationId)),
  );

  const stopWriting = new AbortController();
  const stopFollowing = new AbortController();
  stack.defer(() => {
    stopWriting.abort();
    stopFollowing.abort();
  });
  const writers = contextIds.flatMap((contextId) =>
    Array.from(
      { length: WRITERS_PER_CONTEXT },
      (_, i) => new Writer(client, contextId, `writer-${i}`),
    ),
  );
  const writing = writers.map((writer) => writer.write(stopWriting.signal));
  const followers = Array.from({ length: SUBSCRIBERS }, () => new Follower(client, contextIds));
  const following = followers.map((follower) => follower.follow(stopFollowing.signal));
  const acknowledged = () => writers.reduce((sum, writer) => sum + writer.acknowledged.size, 0);
  const moreAcknowledged = async (more: number) => {
    const until = acknowledged() + more;
    await eventually(() => acknowledged() >= until, 60_000);
  };

  for (let round = 1; round <= ROUNDS; round += 1) {
    await moreAcknowledged(Math.ceil(Math.random() * ACKNOWLEDGED_MAX));
    const { postgresPid, natsPid } = await readEmbeddedServers(data);
    await node.end('SIGKILL');
    // Every other round everything of the node is killed, its Postgres and NATS too.
    if (round % 2 === 0) for (const pid of [postgresPid, natsPid]) process.kill(pid, 'SIGKILL');
    node = await start();
  }
  await moreAcknowledged(ACKNOWLEDGED_MAX);
  stopWriting.abort();
  await Promise.all(writing);

  const logs = await readLogs(data, contextIds);
  for (const [contextId, log] of logs) {
    verifyWritten(
      log,
      writers.filter((writer) => writer.contextId === contextId),
    );
  }
  for (const follower of followers) {
    await eventually(() => contextIds.every((id) => follower.count(id) === logs.get(id)?.length));
    for (const [contextId, log] of logs) {
      expect(follower.seen(contextId)).toEqual(
        log.map(({ sequence, hash }) => ({ sequence: sequence.toString(), hash })),
      );
    }
  }
  stopFollowing.abort();
  await Promise.all(following);
}

/** The log of every context, read from Postgres and run again from zero. */
async function readLogs(
  data: string,
  contextIds: readonly string[],
): Promise<Map<string, Transaction[]>> {
  const { ownerUrl } = await readEmbeddedServers(data);
  const logs = new Map<string, Transaction[]>();
  await using database = openTestDatabase(ownerUrl);
  for (const contextId of contextIds) {
    const log = await readLog(ownerUrl, contextId);
    const verified = await verifyLog(database, parseContextId(contextId));
    expect(verified).toMatchObject({ outcome: 'verified', verified: log.length });
    logs.set(contextId, log);
  }
  return logs;
}

/** No gap, each request at most once, and each acknowledged one where the answer said. */
function verifyWritten(log: readonly Transaction[], writers: readonly Writer[]): void {
  expect(log.map(({ sequence }) => sequence)).toEqual(log.map((_, i) => BigInt(i + 1)));
  const requestIds = log.flatMap(({ requestId }) => requestId ?? []);
  expect(new Set(requestIds).size).toBe(requestIds.length);
  for (const { acknowledged } of writers) {
    expect(acknowledged.size).toBeGreaterThan(ROUNDS);
    for (const [requestId, { sequence, hash }] of acknowledged) {
      expect(log[Number(sequence) - 1]).toMatchObject({ requestId, hash });
    }
  }
}

interface Position {
  readonly sequence: string;
  readonly hash: string;
}

/** Mutates one context, one call after the other, whatever becomes of the node meanwhile. */
class Writer {
  readonly contextId: string;
  /** By request id. */
  readonly acknowledged = new Map<string, Position>();
  readonly #client: Client;
  readonly #name: string;

  constructor(client: Client, contextId: string, name: string) {
    this.#client = client;
    this.contextId = contextId;
    this.#name = name;
  }

  async write(stop: AbortSignal): Promise<void> {
    for (let i = 0; !stop.aborted; i += 1) {
      const requestId = `${this.#name}-${i}`;
      // A caller either asks again until it knows, or gives up after the first failure.
      const insists = i % 2 === 0;
      for (;;) {
        const position = await this.#mutate(requestId, i);
        if (position !== null) this.acknowledged.set(requestId, position);
        if (position !== null || !insists) break;
        await setTimeout(RETRY_MS);
      }
    }
  }

  async #mutate(requestId: string, i: number): Promise<Position | null> {
    const args = { key: `${this.#name}-${i % 50}`, value: `value ${i}` };
    try {
      const { result } = await this.#client.mutate(this.contextId, 'set', args, { requestId });
      if (result?.sequence === undefined || result.hash === undefined) return null;
      return { sequence: result.sequence, hash: result.hash };
    } catch {
      await setTimeout(RETRY_MS);
      return null;
    }
  }
}

/** Follows contexts over WebSocket; after a loss it resumes behind what it saw last. */
class Follower {
  readonly #client: Client;
  readonly #seen: ReadonlyMap<string, Position[]>;

  constructor(client: Client, contextIds: readonly string[]) {
    this.#client = client;
    this.#seen = new Map(contextIds.map((id) => [id, []]));
  }

  seen(contextId: string): readonly Position[] {
    return this.#seen.get(contextId) ?? [];
  }

  count(contextId: string): number {
    return this.seen(contextId).length;
  }

  async follow(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) {
      const connection = await WsClient.connect(this.#client.url, this.#client.token).catch(
        () => null,
      );
      if (connection === null) await setTimeout(RETRY_MS);
      else await this.#followOn(connection, stop);
    }
  }

  async #followOn(connection: WsClient, stop: AbortSignal): Promise<void> {
    await using ws = connection;
    ws.socket.on('message', (data: Buffer) => {
      const { result } = JSON.parse(data.toString()) as { result?: Record<string, string> };
      if (result?.['type'] !== 'TransactionExecuted') return;
      const { contextId = '', sequence = '', hash = '' } = result;
      this.#seen.get(contextId)?.push({ sequence, hash });
    });
    const since = Object.fromEntries(
      [...this.#seen].map(([id, seen]) => [id, seen.at(-1) ?? { sequence: '0' }]),
    );
    const { error } = await ws
      .subscribe([...this.#seen.keys()], since)
      .catch(() => ({ error: { type: 'closed', data: null } }));
    if (error !== undefined) return;
    await new Promise<void>((resolve) => {
      if (ws.closed !== null || stop.aborted) resolve();
      ws.socket.once('close', () => resolve());
      stop.addEventListener('abort', () => resolve(), { once: true });
    });
  }
}
