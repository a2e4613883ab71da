import { monitorEventLoopDelay } from 'node:perf_hooks';
import { keyPairOf, signEd25519, verifyEd25519 } from '#shared/crypto/ed25519.ts';
import { verifyEthereum } from '../../services/auth/wallets/ethereum.ts';
import { createTestDatabase } from '../support/infra.ts';
import { SETUP_TOKEN, startTestNode } from '../support/node.ts';
import { ClientKey, ethereumWallet, requestChallenge } from '../support/wallets.ts';
import { median, printResult, startBench } from './bench.ts';
import { runLoad } from './load.ts';

/**
 * Logins and header verifications per second, and what a flood of logins does to the event loop of
 * a node with its limits on. `npm run bench:auth`; BENCH_ROUNDS and BENCH_MS change its length.
 */
const ROUNDS = Number(process.env['BENCH_ROUNDS'] ?? 3);
const DURATION_MS = Number(process.env['BENCH_MS'] ?? 2_000);
const LOGINS = 200;
const CONNECTIONS = 16;

await using stack = new AsyncDisposableStack();
await startBench(stack);
const database = stack.use(await createTestDatabase());
const unlimited = { verificationsPerAddress: 1_000_000, verificationsTotal: 1_000_000 };
const node = stack.use(await startTestNode({ database, auth: unlimited }));
const wallet = ethereumWallet();
const key = await ClientKey.make(1);
const headers = await key.headers('bench');
const contextId = await node.client.open('kv-store');

const logins: number[] = [];
const verifications: number[] = [];
const cached: number[] = [];
const open: number[] = [];
const delays: number[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  logins.push(await measureLogins());
  verifications.push(await measureHeaders(true));
  cached.push(await measureHeaders(false));
  open.push(await measureQueries([`authorization: Bearer ${node.client.token}`]));
  delays.push(await measureFlood());
}
const ed25519PerSecond = measureEd25519();
printResult(
  'auth',
  {
    loginsPerSecond: median(logins),
    headerVerificationsPerSecond: median(verifications),
    queriesByHeadersPerSecond: median(cached),
    queriesByTokenPerSecond: median(open),
    floodP99DelayMs: median(delays),
    ed25519PerSecond,
    ethereumPerSecond: await measureEthereum(),
  },
  {
    header_cost: median(cached.map((rate, i) => rate / (open[i] ?? Number.NaN))),
    verification: median(verifications.map((rate) => rate / ed25519PerSecond)),
  },
);

/** Whole logins: challenge, signature by the wallet's library, verification, rows. */
async function measureLogins(): Promise<number> {
  const bodies = [];
  for (let i = 0; i < LOGINS; i += 1) {
    const challenge = await requestChallenge(node.client);
    const body = await wallet.sign(challenge, key.signingKey);
    bodies.push(JSON.stringify({ ...body, setupToken: SETUP_TOKEN }));
  }
  const startMs = performance.now();
  for (const body of bodies) {
    const response = await node.client.post('/admin-api/add-client-key', body);
    if (!response.ok) throw new Error(await response.text());
  }
  return (LOGINS / (performance.now() - startMs)) * 1_000;
}

/** Requests by wallet headers; `fresh` ones differ from each other, so that none is remembered. */
async function measureHeaders(fresh: boolean): Promise<number> {
  if (!fresh) {
    return await measureQueries(
      Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    );
  }
  let done = 0;
  const startMs = performance.now();
  const ask = async () => {
    while (performance.now() - startMs < DURATION_MS) {
      done += 1;
      const own = await key.headers(`bench ${startMs} ${done}`);
      const response = await fetch(new URL('/admin-api/is-authed', node.url), { headers: own });
      if (!response.ok) throw new Error(await response.text());
      await response.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, ask));
  return (done / (performance.now() - startMs)) * 1_000;
}

async function measureQueries(lines: readonly string[]): Promise<number> {
  const params = { contextId, method: 'len', argsJson: {} };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'query', params });
  const figures = await runLoad({
    port: Number(new URL(node.url).port),
    connections: CONNECTIONS,
    warmUpMs: 500,
    durationMs: DURATION_MS,
    path: '/jsonrpc',
    headers: lines,
    body: () => body,
    check: (answer) => {
      if (!answer.includes('output')) throw new Error(answer);
    },
  });
  return figures.perSecond;
}

/** p99 of the event loop's delay while one address floods the login of a node with its limits. */
async function measureFlood(): Promise<number> {
  const challenge = await requestChallenge(node.client);
  const body = JSON.stringify(await wallet.sign(challenge, key.signingKey));
  await using limited = await startTestNode({ database, nodeName: 'limited' });
  const histogram = monitorEventLoopDelay({ resolution: 1 });
  histogram.enable();
  const startMs = performance.now();
  const flood = async () => {
    while (performance.now() - startMs < DURATION_MS) {
      const response = await fetch(new URL('/admin-api/add-client-key', limited.url), {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body,
      });
      await response.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, flood));
  histogram.disable();
  return histogram.percentile(99) / 1e6;
}

function measureEd25519(): number {
  const seed = new Uint8Array(32).fill(1);
  const message = Buffer.alloc(32, 2);
  const signature = signEd25519(seed, message);
  const { publicKey } = keyPairOf(seed);
  const startMs = performance.now();
  let done = 0;
  for (; performance.now() - startMs < DURATION_MS; done += 1) {
    verifyEd25519(publicKey, message, signature);
  }
  return (done / (performance.now() - startMs)) * 1_000;
}

async function measureEthereum(): Promise<number> {
  const body = await wallet.sign(await requestChallenge(node.client), 'key', 'message');
  const startMs = performance.now();
  let done = 0;
  for (; performance.now() - startMs < DURATION_MS; done += 1) {
    verifyEthereum(wallet.verifyingKey, String(body['walletSignature']), 'message');
  }
  return (done / (performance.now() - startMs)) * 1_000;
}
