import { Registry } from 'prom-client';
import { connectNats } from '#shared/bus/nats-bus.ts';
import { DoorServer } from '#shared/service/door-server.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { TrustedProxies } from '#shared/service/trusted-proxies.ts';
import { openDatabase } from '#shared/store/database.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { systemClock } from '#shared/util/clock.ts';
import { systemRandom } from '#shared/util/random.ts';
import { authConfigSchema } from '../../services/auth/config.ts';
import { createAuthService } from '../../services/auth/service.ts';
import { type ExecutorConfig, executorConfigSchema } from '../../services/rpc-executor/config.ts';
import { createRpcExecutorService } from '../../services/rpc-executor/service.ts';
import { Client } from './client.ts';
import { type TestDatabase, testNatsUrl } from './infra.ts';
import { ADMIN_TOKEN, NODE_KEY, SETUP_TOKEN } from './node.ts';

/** One `rpc-executor` in this process, as a cluster has several; its JSON-RPC door on a port of its own. */
export interface TestExecutor extends AsyncDisposable {
  readonly client: Client;
  /** The value of a metric without labels. */
  figure(name: string): Promise<number>;
  /** Ends in order; the door stays for what is under way. */
  stop(): Promise<void>;
}

export async function startTestExecutor(
  database: TestDatabase,
  config: Partial<ExecutorConfig> & { readonly owner: string },
): Promise<TestExecutor> {
  await using stack = new AsyncDisposableStack();
  const metrics = new Registry();
  const deps: ServiceDeps = {
    database: stack.use(
      openDatabase({ url: database.serviceUrl, poolMax: 4, onError: () => undefined }),
    ),
    bus: stack.use(await connectNats(testNatsUrl(), config.owner)),
    log: createLogger({ name: config.owner, level: process.env['TEST_LOG_LEVEL'] ?? 'fatal' }),
    metrics,
    clock: systemClock,
    random: systemRandom,
    proxies: TrustedProxies.none,
  };
  const auth = stack.use(
    createAuthService(
      deps,
      authConfigSchema.parse({
        adminToken: ADMIN_TOKEN,
        setupToken: SETUP_TOKEN,
        nodeKey: NODE_KEY,
        secretKey: new Uint8Array(32).fill(1),
      }),
    ),
  );
  await auth.start();
  const service = createRpcExecutorService(deps, executorConfigSchema.parse(config));
  const server = stack.use(new DoorServer(service.door === undefined ? [] : [service.door]));
  await service.start();
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (!isStopped) await service[Symbol.asyncDispose]();
    isStopped = true;
  };
  stack.defer(stop);
  const port = await server.listen('127.0.0.1', 0);
  const running = stack.move();
  return {
    client: new Client(`http://127.0.0.1:${port}`, ADMIN_TOKEN),
    figure: async (name) => {
      const text = await metrics.getSingleMetricAsString(name);
      return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
    },
    stop,
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}
