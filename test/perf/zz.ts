import { createTestDatabase } from '/work/main/test/support/infra.ts';
import { NodeProcess } from '/work/main/test/support/node-process.ts';
import { startBench, startYardstick } from '/work/main/test/perf/bench.ts';
import { runLoad } from '/work/main/test/perf/load.ts';
import { execSync } from 'node:child_process';
await using stack = new AsyncDisposableStack();
const infra = await startBench(stack);
const database = stack.use(await createTestDatabase());
const env = { DATABASE_URL: database.ownerUrl, NATS_URL: infra.natsUrl, NODE_OPTIONS: process.env.NODE_FLAGS ?? '' };
const node = stack.use(await NodeProcess.start({ data: `${infra.directory}/node`, args: ['--no-demo'], env }));
const { client } = node;
const app = await client.install('kv-store');
const contexts: string[] = [];
for (let i = 0; i < 64; i += 1) contexts.push(await client.createContext(app));
const port = Number(new URL(node.url).port);
const echo = await startYardstick(stack, 'koa-echo');
const method = process.env.METHOD ?? 'mutate';
const go = (p: number, path: string) => runLoad({ port: p, connections: 64, warmUpMs: 1000, durationMs: Number(process.env.MS ?? 4000), path, headers: [`authorization: Bearer ${client.token}`], check: () => undefined,
 body: (c, i) => JSON.stringify({ jsonrpc: '2.0', id: i, method, params: { contextId: contexts[process.env.HOT ? 0 : c % 64], method: method === 'query' ? 'get' : 'set', argsJson: { key: `key ${(i + c) % 100}`, value: 'v'.repeat(64) + i }, requestId: `${c}-${i}` } }) });
const cpu = () => execSync(`ps -eo pid,comm,time,args --sort=-time | head -12 | cut -c1-110`).toString();
console.log(cpu());
const times = () => Object.fromEntries(execSync(`cat /proc/[0-9]*/stat 2>/dev/null || true`).toString().split('\n').filter(Boolean).map((l) => { const f = l.slice(l.lastIndexOf(')') + 2).split(' '); return [l.slice(0, l.indexOf(')') + 1), (Number(f[11]) + Number(f[12])) * 10]; }));
for (const [name, p] of [['echo', echo], ['node', port]] as const) {
  const a = times(); const t = performance.now();
  const f = await go(p, '/jsonrpc');
  const b = times(); const ms = performance.now() - t;
  console.log(name, f, 'ms', Math.round(ms), Object.entries(b).map(([k, v]) => [k, v - (a[k] ?? 0)] as const).filter(([, v]) => v > 100).sort((x, y) => y[1] - x[1]));
}
