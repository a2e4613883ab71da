import { readFile } from 'node:fs/promises';
import { createTestDatabase } from '../support/infra.ts';
import { NodeProcess } from '../support/node-process.ts';
import {
  measureFdatasync,
  median,
  printResult,
  rounded,
  startBench,
  startYardstick,
} from './bench.ts';
import { readCpu } from './cpu.ts';
import { type LoadFigures, type LoadOptions, runLoad } from './load.ts';
import { measureGroupCommit } from './yardsticks/group-commit.ts';

/**
 * Acknowledged durable mutations per second over HTTP, against yardsticks in the same run.
 * `npm run bench:mutate`; BENCH_ROUNDS and BENCH_MS change its length.
 */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 5);
const DURATION_MS = Number(process.env['BENCH_MS'] ?? 3_000);
const WARM_UP_MS = 1_000;
const CONNECTIONS = 64;
const CONTEXTS = 64;
const KEYS = 100;
/** JSON-RPC arrays of twenty requests. */
const BATCH = Array.from({ length: 20 }, (_, n) => n);
const VALUE = 'v'.repeat(64);

await using stack = new AsyncDisposableStack();
const infra = await startBench(stack);
const database = stack.use(await createTestDatabase());
const env = { DATABASE_URL: database.ownerUrl, NATS_URL: infra.natsUrl };
const node = stack.use(
  await NodeProcess.start({ data: `${infra.directory}/node`, args: ['--no-demo'], env }),
);
const { client } = node;
const applicationId = await client.install('kv-store');
const contexts: string[] = [];
for (let i = 0; i < CONTEXTS; i += 1) contexts.push(await client.createContext(applicationId));
const [hot = ''] = contexts;
const echoPort = await startYardstick(stack, 'koa-echo');
await startYardstick(stack, 'naive-executor', env);
const naivePort = await startYardstick(stack, 'naive-http', env);
const nodePort = Number(new URL(node.url).port);
const authorization = `authorization: Bearer ${client.token}`;

let run = 0;
const bodyIn = (contextOf: (connection: number) => string) => {
  run += 1;
  const tag = run;
  return (connection: number, i: number) =>
    JSON.stringify({
      jsonrpc: '2.0',
      id: i,
      method: 'mutate',
      params: {
        contextId: contextOf(connection),
        method: 'set',
        argsJson: { key: `key ${(i + connection) % KEYS}`, value: `${VALUE}${i}` },
        requestId: `${tag}-${connection}-${i}`,
      },
    });
};
const load = (options: Pick<LoadOptions, 'port' | 'body' | 'check'> & Partial<LoadOptions>) =>
  runLoad({
    connections: CONNECTIONS,
    warmUpMs: WARM_UP_MS,
    durationMs: DURATION_MS,
    path: '/jsonrpc',
    ...options,
  });
const spread = (connection: number) => contexts[connection % CONTEXTS] ?? '';
const isMutated = (body: string) => {
  if (!body.includes('"sequence":"')) throw new Error(body);
};
/** Of the node under test: the rate, and the CPU time that it and Postgres spent on each mutation. */
interface Figures extends LoadFigures {
  readonly nodeCpuUs: number;
  readonly postgresCpuUs: number;
}

const mutate = async (
  body: LoadOptions['body'],
  { check = isMutated, perRequest = 1 }: { check?: LoadOptions['check']; perRequest?: number } = {},
): Promise<Figures> => {
  const before = await readCpu(node.pid);
  const figures = await load({ port: nodePort, body, check, headers: [authorization] });
  const after = await readCpu(node.pid);
  const each = (microseconds: number) => microseconds / (figures.answered * perRequest);
  return {
    ...figures,
    perSecond: figures.perSecond * perRequest,
    nodeCpuUs: each(after.node - before.node),
    postgresCpuUs: each(after.postgres - before.postgres),
  };
};
const areMutated = (body: string) => {
  if (body.split('"sequence":"').length !== BATCH.length + 1) throw new Error(body);
};
const runs: Readonly<Record<string, () => Promise<LoadFigures & Partial<Figures>>>> = {
  koaEcho: () => load({ port: echoPort, body: bodyIn(spread), check: () => undefined }),
  naive: () => load({ port: naivePort, body: bodyIn(spread), check: isMutated }),
  contexts64: () => mutate(bodyIn(spread)),
  hotContext: () => mutate(bodyIn(() => hot)),
  batch20: () => {
    const entry = bodyIn(spread);
    const body = (connection: number, i: number) =>
      `[${BATCH.map((n) => entry(connection, i * BATCH.length + n)).join(',')}]`;
    return mutate(body, { check: areMutated, perRequest: BATCH.length });
  },
};

const results = new Map<string, (LoadFigures & Partial<Figures>)[]>();
const groupCommit: number[] = [];
const fdatasync: number[] = [];
for (let round = 1; round <= ROUNDS; round += 1) {
  fdatasync.push(await measureFdatasync(infra.directory));
  for (const [name, measure] of Object.entries(runs)) {
    const figures = await measure();
    results.set(name, [...(results.get(name) ?? []), figures]);
    process.stdout.write(`round ${round}  ${name.padEnd(12)} ${format({ ...figures })}\n`);
  }
  groupCommit.push(await measureGroupCommit(database.ownerUrl, DURATION_MS));
}
process.stdout.write(`${(await readFile('/proc/loadavg', 'utf8').catch(() => '')).trim()}\n`);

const of = (name: string, field: keyof Figures) =>
  (results.get(name) ?? []).map((figures) => figures[field] ?? Number.NaN);
const ratio = (name: string, to: readonly number[]) =>
  median(of(name, 'perSecond').map((value, i) => value / (to[i] ?? Number.NaN)));
printResult(
  'mutate',
  {
    perSecond: median(of('contexts64', 'perSecond')),
    p50Ms: median(of('contexts64', 'p50Ms')),
    p99Ms: median(of('contexts64', 'p99Ms')),
    nodeCpuUs: median(of('contexts64', 'nodeCpuUs')),
    postgresCpuUs: median(of('contexts64', 'postgresCpuUs')),
    hotPerSecond: median(of('hotContext', 'perSecond')),
    hotP50Ms: median(of('hotContext', 'p50Ms')),
    hotP99Ms: median(of('hotContext', 'p99Ms')),
    hotNodeCpuUs: median(of('hotContext', 'nodeCpuUs')),
    hotPostgresCpuUs: median(of('hotContext', 'postgresCpuUs')),
    batch20PerSecond: median(of('batch20', 'perSecond')),
    batch20P99Ms: median(of('batch20', 'p99Ms')),
    batch20NodeCpuUs: median(of('batch20', 'nodeCpuUs')),
    batch20PostgresCpuUs: median(of('batch20', 'postgresCpuUs')),
    koaEchoPerSecond: median(of('koaEcho', 'perSecond')),
    naivePerSecond: median(of('naive', 'perSecond')),
    groupCommitPerSecond: median(groupCommit),
    fdatasyncPerSecond: median(fdatasync),
  },
  {
    koa_echo: ratio('contexts64', of('koaEcho', 'perSecond')),
    naive: ratio('contexts64', of('naive', 'perSecond')),
    group_commit: ratio('contexts64', groupCommit),
    hot_context: ratio('hotContext', of('contexts64', 'perSecond')),
    batch20: ratio('batch20', of('contexts64', 'perSecond')),
  },
);

function format(figures: Readonly<Record<string, number>>): string {
  return Object.entries(rounded(figures))
    .map(([name, value]) => `${name} ${value}`)
    .join('  ');
}
