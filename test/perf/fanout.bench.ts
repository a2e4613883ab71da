import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { connectNats } from '#shared/bus/nats-bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { encodeId } from '#shared/crypto/base58.ts';
import type { TransactionHash } from '#shared/domain/ids.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import { encodeNotice, type LogNotice } from '#shared/protocol/log-notice.ts';
import { encodeEvents } from '#shared/protocol/websocket.ts';
import { createTestDatabase } from '../support/infra.ts';
import {
  median,
  printResult,
  rounded,
  spawnYardstick,
  startBench,
  type Yardstick,
} from './bench.ts';
import { readCpu } from './cpu.ts';
import { FanoutClients } from './fanout-clients.ts';
import { startNatsWebSocket } from './nats-web-socket.ts';
import { EVENTS_SUBJECT } from './yardsticks/events-subject.ts';

/**
 * Deliveries per second to many sockets, and how long a notice takes to reach them, against plain
 * `ws`, Socket.IO and nats-server's own WebSocket in the same run; clients are another process.
 * A notice is published as the owner of a context does it right after the commit; the next burst
 * follows when the last socket has the one before.
 * `npm run bench:fanout`; BENCH_SOCKETS (comma), BENCH_ROUNDS and BENCH_MS change its length.
 */
const SOCKETS = (process.env['BENCH_SOCKETS'] ?? '1000,5000').split(',').map(Number);
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3);
const DURATION_MS = Number(process.env['BENCH_MS'] ?? 1_500);
const BURSTS = [1, 16, 64];
const WARM_UP_BURSTS = 3;
const ROUND_MS = 60_000;
const LIGHT_SOCKETS = 256;
const LIGHT_PER_SECOND = 50;
const DATA = new Uint8Array(28).fill(97);

await using stack = new AsyncDisposableStack();
const infra = await startBench(stack);
const database = stack.use(await createTestDatabase());
const bus = stack.use(await connectNats(infra.natsUrl, 'bench'));
const env = { DATABASE_URL: database.serviceUrl, NATS_URL: infra.natsUrl };
const cairn = await spawnYardstick(stack, 'fanout-node', env);
const natsServer = await startNatsWebSocket(stack, infra.directory);
const natsBus = stack.use(await connectNats(natsServer.url, 'bench'));
const clients = stack.use(new FanoutClients());

let contexts = 0;
let sequence = 0n;
let contextId = freshContext();
const text = frameOf(1_000n);

interface Target {
  readonly server: Pick<Yardstick, 'port' | 'pid'>;
  readonly path: string;
  readonly hello: () => readonly (string | null)[];
  readonly unit: 'frame' | number;
  readonly publish: () => void;
}
const publishText = () => bus.publish(EVENTS_SUBJECT, Buffer.from(text));
const natsMessageBytes = `MSG ${EVENTS_SUBJECT} 1 ${text.length}\r\n`.length + text.length + 2;
const targets: Readonly<Record<string, Target>> = {
  cairn: {
    server: cairn,
    path: '/ws',
    unit: 'frame',
    hello: () => [
      JSON.stringify({ id: 1, method: 'subscribe', params: { contextIds: [contextId] } }),
    ],
    publish: () => {
      sequence += 1n;
      bus.publish(subjects.log(parseContextId(contextId)), encodeNotice(noticeOf(sequence)));
    },
  },
  ws: {
    server: await spawnYardstick(stack, 'ws-fanout', env),
    path: '/',
    unit: 'frame',
    hello: () => [null],
    publish: publishText,
  },
  socketIo: {
    server: await spawnYardstick(stack, 'socket-io', env),
    path: '/socket.io/?EIO=4&transport=websocket',
    unit: 'frame',
    hello: () => [null, '40'],
    publish: publishText,
  },
  nats: {
    server: natsServer,
    path: '/',
    unit: natsMessageBytes,
    hello: () => [
      null,
      `CONNECT {"verbose":false,"pedantic":false}\r\nSUB ${EVENTS_SUBJECT} 1\r\nPING\r\n`,
    ],
    publish: () => natsBus.publish(EVENTS_SUBJECT, Buffer.from(text)),
  },
};

const results = new Map<string, number[]>();
const note = (name: string, value: number) =>
  results.set(name, [...(results.get(name) ?? []), value]);

for (const [name, target] of Object.entries(targets)) {
  note(`${name}IdleBytes`, await measureMemory(target, Math.max(...SOCKETS)));
}
for (let round = 1; round <= ROUNDS; round += 1) {
  for (const sockets of SOCKETS) {
    for (const [name, target] of Object.entries(targets)) {
      await open(target, sockets);
      for (const burst of BURSTS) {
        const figures = await measureRate(target, sockets, burst);
        for (const [field, value] of Object.entries(figures)) {
          note(`${name}${sockets}x${burst}${field}`, value);
        }
        process.stdout.write(`round ${round}  ${sockets} sockets  ${name} x${burst}  `);
        process.stdout.write(`${JSON.stringify(rounded({ ...figures }))}\n`);
      }
      if (name === 'cairn' || name === 'ws') {
        const perSecond = results.get(`${name}${sockets}x1PerSecond`)?.at(-1) ?? 0;
        await noteLatency(`${name}${sockets}Half`, target, perSecond / sockets / 2);
      }
      await clients.run({ kind: 'close' });
    }
  }
  for (const name of ['cairn', 'ws'] as const) {
    const target = targets[name];
    if (target === undefined) continue;
    await open(target, LIGHT_SOCKETS);
    await noteLatency(`${name}Light`, target, LIGHT_PER_SECOND);
    await clients.run({ kind: 'close' });
  }
}
process.stdout.write(`${(await readFile('/proc/loadavg', 'utf8').catch(() => '')).trim()}\n`);

const of = (name: string) => median(results.get(name) ?? []);
const [fewest = 0] = SOCKETS;
const ratio = (burst: number, against: string, sockets = fewest) =>
  median(
    (results.get(`cairn${sockets}x${burst}PerSecond`) ?? []).map(
      (value, i) =>
        value / (results.get(`${against}${sockets}x${burst}PerSecond`)?.[i] ?? Number.NaN),
    ),
  );
const most = SOCKETS.at(-1) ?? fewest;
printResult('fanout', Object.fromEntries([...results.keys()].map((name) => [name, of(name)])), {
  ws_send: ratio(1, 'ws'),
  ws_send_burst16: ratio(16, 'ws'),
  ws_send_burst64: ratio(64, 'ws'),
  socket_io: ratio(1, 'socketIo'),
  nats_ws_burst16: ratio(16, 'nats'),
  [`ws_send_${most}`]: ratio(1, 'ws', most),
  [`ws_send_burst16_${most}`]: ratio(16, 'ws', most),
  ws_idle_memory: of('cairnIdleBytes') / of('wsIdleBytes'),
});

async function open(target: Target, sockets: number): Promise<void> {
  contextId = freshContext();
  sequence = 0n;
  const { server, path, unit } = target;
  await clients.run({
    kind: 'open',
    port: server.port,
    path,
    sockets,
    unit,
    hello: target.hello(),
  });
}

async function measureRate(target: Target, sockets: number, burst: number) {
  await clients.begin(burst);
  let bursts = 0;
  const one = async (): Promise<void> => {
    for (let i = 0; i < burst; i += 1) target.publish();
    bursts += 1;
    await clients.rounds(bursts, ROUND_MS);
  };
  for (let i = 0; i < WARM_UP_BURSTS; i += 1) await one();
  const cpu = (await readCpu(target.server.pid)).node;
  const startMs = performance.now();
  while (performance.now() - startMs < DURATION_MS) await one();
  const elapsedMs = performance.now() - startMs;
  const deliveries = (bursts - WARM_UP_BURSTS) * burst * sockets;
  return {
    PerSecond: (deliveries / elapsedMs) * 1_000,
    CpuUs: ((await readCpu(target.server.pid)).node - cpu) / deliveries,
  };
}

/** At a steady rate, whether or not the sockets keep up. */
async function noteLatency(name: string, target: Target, perSecond: number): Promise<void> {
  const count = Math.max(20, Math.round((perSecond * DURATION_MS) / 1_000));
  await clients.begin(1, count);
  const startsMs: number[] = [];
  const firstMs = performance.now();
  for (let i = 0; i < count; i += 1) {
    const delayMs = firstMs + (i * 1_000) / perSecond - performance.now();
    if (delayMs > 0) await wait(delayMs);
    startsMs.push(Number(process.hrtime.bigint()) / 1e6);
    target.publish();
  }
  await clients.rounds(count, ROUND_MS);
  const figures = await clients.run({ kind: 'latencies', startsMs });
  if (figures.kind !== 'latencies') throw new Error('the clients answered something else');
  note(`${name}P50Ms`, figures.p50Ms);
  note(`${name}P99Ms`, figures.p99Ms);
  process.stdout.write(`${name} at ${perSecond.toFixed(1)}/s  ${JSON.stringify(figures)}\n`);
}

/** Resident bytes of the server for each idle socket. */
async function measureMemory(target: Target, sockets: number): Promise<number> {
  // What the first connections of a process load stays out of the figure.
  await open(target, 100);
  await clients.run({ kind: 'close' });
  await wait(500);
  const before = await residentBytes(target.server.pid);
  await open(target, sockets);
  await wait(1_000);
  const after = await residentBytes(target.server.pid);
  await clients.run({ kind: 'close' });
  return (after - before) / sockets;
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1_024;
}

/** Nobody has used it before: its log is empty. */
function freshContext(): string {
  contexts += 1;
  const bytes = Buffer.alloc(32, 7);
  bytes.writeUInt32BE(contexts);
  return encodeId(bytes);
}

function noticeOf(at: bigint): LogNotice {
  return {
    contextId: parseContextId(contextId),
    sequence: at,
    hash: contextId as unknown as TransactionHash,
    kind: 'mutate',
    status: 'ok',
    events: [{ kind: 'Set', data: DATA }],
    rootHash: null,
    changed: false,
  };
}

function frameOf(at: bigint): string {
  const [frame] = encodeEvents(noticeOf(at), 'b');
  if (frame === undefined) throw new Error('the notice has no event');
  return frame;
}
