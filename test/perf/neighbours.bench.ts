import { HOSTILE } from '../guests/hostile-guests.ts';
import { createTestDatabase } from '../support/infra.ts';
import { NodeProcess } from '../support/node-process.ts';
import { median, printResult, startBench } from './bench.ts';
import { type LoadFigures, runLoad } from './load.ts';

/**
 * What others notice of a guest that loops until its fuel is used up, again and again: the latency
 * of mutations in other contexts, without it and while it runs. `npm run bench:neighbours`;
 * BENCH_ROUNDS and BENCH_MS change its length.
 */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const DURATION_MS = Number(process.env['BENCH_MS'] ?? 4_000);
const WARM_UP_MS = 1_000;
const NEIGHBOURS = 8;

await using stack = new AsyncDisposableStack();
const infra = await startBench(stack);
const database = stack.use(await createTestDatabase());
const env = { DATABASE_URL: database.ownerUrl, NATS_URL: infra.natsUrl };
const node = stack.use(
  await NodeProcess.start({ data: `${infra.directory}/node`, args: ['--no-demo'], env }),
);
const { client } = node;
const store = await client.install('kv-store');
const neighbours: string[] = [];
for (let i = 0; i < NEIGHBOURS; i += 1) neighbours.push(await client.createContext(store));

const load = (): Promise<LoadFigures> =>
  runLoad({
    port: Number(new URL(node.url).port),
    connections: NEIGHBOURS,
    warmUpMs: WARM_UP_MS,
    durationMs: DURATION_MS,
    path: '/jsonrpc',
    headers: [`authorization: Bearer ${client.token}`],
    body: (connection, i) =>
      JSON.stringify({
        jsonrpc: '2.0',
        id: i,
        method: 'mutate',
        params: {
          contextId: neighbours[connection],
          method: 'set',
          argsJson: { key: `key ${i % 100}`, value: `${i}` },
        },
      }),
    check: (body) => {
      if (!body.includes('"sequence":"')) throw new Error(body);
    },
  });

const figures: Record<string, number> = {};
const ratios: Record<string, number> = {};
for (const [engine, source] of HOSTILE) {
  const hostile = await client.createContext(await client.install(source(), engine));
  const alone: number[] = [];
  const beside: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    alone.push((await load()).p99Ms);
    const isOver = new AbortController();
    const misdeeds = loopUntil(hostile, isOver.signal);
    beside.push((await load()).p99Ms);
    isOver.abort();
    await misdeeds;
  }
  figures[`${engine}AloneP99Ms`] = median(alone);
  figures[`${engine}BesideP99Ms`] = median(beside);
  ratios[`${engine}_p99`] = median(beside.map((value, i) => value / (alone[i] ?? Number.NaN)));
}
printResult('neighbours', figures, ratios);

async function loopUntil(contextId: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) await client.mutate(contextId, 'spin', {});
}
