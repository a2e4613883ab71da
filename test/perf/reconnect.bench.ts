import { WsClient } from '../support/ws-client.ts';
import { Client } from '../support/client.ts';
import { createTestDatabase } from '../support/infra.ts';
import { median, printResult, spawnYardstick, startBench, type Yardstick } from './bench.ts';
import { FanoutClients } from './fanout-clients.ts';
import { runLoad } from './load.ts';
import { SINCE } from './yardsticks/socket-clients.ts';

/**
 * Many clients of one context come back at once with positions all over its recent past: to the
 * replica that they had, and to one that has never seen the context. How long until the last has
 * everything that it missed and is live, and what is read from the log for it.
 * `npm run bench:reconnect`; BENCH_SOCKETS and BENCH_ROUNDS change its length.
 */
const SOCKETS = Number(process.env['BENCH_SOCKETS'] ?? 5_000);
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3);
const LOG = 1_000;
/** The furthest behind. */
const SPAN = 200;
/** A transaction with an event is two frames in the newer dialect. */
const FRAMES = 2;
const CONNECTIONS = 32;
const ROUND_MS = 60_000;

await using stack = new AsyncDisposableStack();
const infra = await startBench(stack);
const database = stack.use(await createTestDatabase());
const env = { DATABASE_URL: database.serviceUrl, NATS_URL: infra.natsUrl };
const start = (name: string) => spawnYardstick(stack, 'fanout-node', { ...env, NODE_NAME: name });
const first = await start('first');
const client = new Client(`http://127.0.0.1:${first.port}`, 'bench');
const clients = stack.use(new FanoutClients());
const contextId = await client.open('kv-store');
await runLoad({
  port: first.port,
  path: '/jsonrpc',
  connections: CONNECTIONS,
  warmUpMs: 0,
  durationMs: 1_500,
  headers: ['authorization: Bearer bench'],
  check: (body) => {
    if (!body.includes('"sequence":"')) throw new Error(body);
  },
  body: (connection, i) =>
    JSON.stringify({
      jsonrpc: '2.0',
      id: i,
      method: 'mutate',
      params: { contextId, method: 'set', argsJson: { key: `k${connection}`, value: `${i}` } },
    }),
});
let head = await set('last');
if (head < LOG) throw new Error(`the log has ${head} transactions only`);

const figures = new Map<string, number[]>();
for (let round = 1; round <= ROUNDS; round += 1) {
  // Somebody listened before the cut, so that the replica has followed the context.
  const before = await WsClient.connect(`http://127.0.0.1:${first.port}`, 'bench');
  await before.subscribe([contextId]);
  for (let i = 0; i < SPAN; i += 1) head = await set(`missed ${i}`);
  await before[Symbol.asyncDispose]();
  await measure('same', first);
  await measure('fresh', await start(`fresh-${round}`));
}
const of = (name: string) => median(figures.get(name) ?? []);
printResult('reconnect', Object.fromEntries([...figures.keys()].map((name) => [name, of(name)])), {
  same_reads_per_context: of('sameLogReads'),
  fresh_reads_per_context: of('freshLogReads'),
});

async function measure(name: string, replica: Yardstick): Promise<void> {
  const readsBefore = await logReads(replica);
  const hello = `{"id":1,"method":"subscribe","params":{"contextIds":["${contextId}"],"since":{"${contextId}":"${SINCE}"}}}`;
  const startMs = performance.now();
  await clients.run({
    kind: 'open',
    port: replica.port,
    path: '/ws',
    sockets: SOCKETS,
    hello: [hello],
    unit: 'frame',
    missed: { first: head - SPAN, span: SPAN, head, framesPerTransaction: FRAMES },
  });
  const caughtUpMs = performance.now() - startMs;
  await clients.begin(FRAMES);
  head = await set(`live ${name}`);
  await clients.rounds(1, ROUND_MS);
  const liveMs = performance.now() - startMs;
  const reads = (await logReads(replica)) - readsBefore;
  await clients.run({ kind: 'close' });
  for (const [field, value] of Object.entries({
    CaughtUpMs: caughtUpMs,
    LiveMs: liveMs,
    LogReads: reads,
  })) {
    figures.set(name + field, [...(figures.get(name + field) ?? []), value]);
  }
  process.stdout.write(
    `${name}: caught up in ${caughtUpMs.toFixed(0)} ms, live ${liveMs.toFixed(0)} ms, ${reads} reads\n`,
  );
}

async function set(value: string): Promise<number> {
  const { result } = await client.mutate(contextId, 'set', { key: 'key', value });
  return Number(result?.sequence);
}

async function logReads({ internalPort }: Yardstick): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${internalPort}/metrics`);
  return Number(/^cairn_fanout_log_reads_total (\d+)/m.exec(await response.text())?.[1] ?? 0);
}
