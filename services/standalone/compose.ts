import type { Logger } from 'pino';
import { connectNats, type NatsOptions } from '#shared/bus/nats-bus.ts';
import { DoorServer } from '#shared/service/door-server.ts';
import type { Service, ServiceDeps } from '#shared/service/service.ts';
import { startInternalServer } from '#shared/service/internal-server.ts';
import { openDatabase, type TlsOptions } from '#shared/store/database.ts';
import { createMetrics } from '#shared/telemetry/metrics.ts';
import { systemClock } from '#shared/util/clock.ts';
import { systemRandom } from '#shared/util/random.ts';
import { TrustedProxies } from '#shared/service/trusted-proxies.ts';
import { type AdminConfig, adminConfigSchema } from '../admin/config.ts';
import { createAdminService } from '../admin/service.ts';
import { type AuthConfig, authConfigSchema } from '../auth/config.ts';
import { createAuthService } from '../auth/service.ts';
import { type ExecutorConfig, executorConfigSchema } from '../rpc-executor/config.ts';
import { createRpcExecutorService } from '../rpc-executor/service.ts';
import { type FanoutConfig, fanoutConfigSchema } from '../subscription-fanout/config.ts';
import { createFanoutService } from '../subscription-fanout/service.ts';
import { type SyncConfig, syncSection } from '../sync/config.ts';
import { createSyncService } from '../sync/service.ts';

export interface NodeConfig {
  readonly databaseUrl: string;
  readonly databaseTls?: TlsOptions | null;
  readonly poolMax?: number;
  readonly natsUrl: string;
  readonly nats?: NatsOptions;
  readonly adminToken: string;
  /** Lets its holder add the first root key. */
  readonly setupToken: string;
  /** Seed of the node's own ed25519 key. */
  readonly nodeKey: Uint8Array;
  /** 32 bytes that encrypt private keys at rest. */
  readonly secretKey: Uint8Array;
  /** Stable name of this node: it takes its own leases back at once after a crash. */
  readonly nodeName: string;
  /** Address to serve at; both loopbacks when left out. */
  readonly host?: string;
  /** 0 chooses a free port. */
  readonly port: number;
  /** The IPv4 loopback when left out. */
  readonly internalHost?: string;
  readonly internalPort: number;
  readonly open: boolean;
  /** Addresses and networks whose X-Forwarded-For is believed. */
  readonly trustedProxies?: readonly string[];
  /** Settings that differ from the defaults of a service. */
  readonly auth?: Settings<AuthConfig>;
  readonly executor?: Settings<ExecutorConfig>;
  readonly fanout?: Settings<FanoutConfig>;
  readonly admin?: Settings<AdminConfig>;
  readonly sync?: Settings<SyncConfig>;
  readonly log: Logger;
}

type Settings<Config> = { readonly [Key in keyof Config]?: Config[Key] | undefined };

/** A running node: every service in this process, on one port. */
export interface RunningNode extends AsyncDisposable {
  readonly url: string;
  readonly internalUrl: string;
  /** Reads the access file again; a file that cannot be used is logged, and changes nothing. */
  reloadAccess(): Promise<void>;
}

const POOL_MAX = 16;
const DRAIN_MS = 5_000;
const LOOPBACK = '127.0.0.1';

/** Starts all services on given Postgres and NATS; disposal drains and stops them in order. */
export async function startNode(config: NodeConfig): Promise<RunningNode> {
  await using stack = new AsyncDisposableStack();
  const { log } = config;
  const database = stack.use(
    openDatabase({
      url: config.databaseUrl,
      poolMax: config.poolMax ?? POOL_MAX,
      tls: config.databaseTls ?? null,
      onError: (error) => log.warn({ err: error }, 'lost a Postgres connection'),
    }),
  );
  const bus = stack.use(await connectNats(config.natsUrl, 'cairn-standalone', config.nats));
  const metrics = createMetrics();
  const depsOf = (service: string): ServiceDeps => ({
    database,
    bus,
    metrics,
    log: log.child({ service }),
    clock: systemClock,
    random: systemRandom,
    proxies: new TrustedProxies(config.trustedProxies ?? []),
  });
  const auth = createAuthService(
    depsOf('auth'),
    authConfigSchema.parse({
      ...config.auth,
      adminToken: config.adminToken,
      open: config.open,
      nodeKey: config.nodeKey,
      secretKey: config.secretKey,
      setupToken: config.setupToken,
    }),
  );
  const services: readonly Service[] = [
    auth,
    createRpcExecutorService(
      depsOf('rpc-executor'),
      executorConfigSchema.parse({
        ...config.executor,
        owner: config.nodeName,
      }),
    ),
    createFanoutService(
      depsOf('subscription-fanout'),
      fanoutConfigSchema.parse({ ...config.fanout }),
    ),
    createSyncService(depsOf('sync'), {
      ...syncSection.parse({ ...config.sync }),
      databaseUrl: config.databaseUrl,
      databaseTls: config.databaseTls ?? null,
    }),
    createAdminService(
      depsOf('admin'),
      adminConfigSchema.parse({ ...config.admin, secretKey: config.secretKey }),
    ),
  ];
  const doors = services.flatMap(({ door }) => (door === undefined ? [] : [door]));
  const server = stack.use(new DoorServer(doors));
  // All of them are disposed of when one does not start: they hold threads from the beginning.
  for (const service of services) stack.use(service);
  for (const service of services) await service.start();
  const internal = await startInternalServer({
    host: config.internalHost ?? LOOPBACK,
    port: config.internalPort,
    services,
    metrics,
  });
  stack.use(internal);
  const { host = LOOPBACK } = config;
  const isWildcard = host === '0.0.0.0' || host === '::';
  const port = await listenOn(server, host, config.port);
  // The services, which end next, still answer what is under way.
  stack.defer(() => server.drain({ lingerMs: 0, withinMs: DRAIN_MS }));
  const running = stack.move();
  return {
    url: `http://${isWildcard ? LOOPBACK : host}:${port}`,
    internalUrl: internal.url,
    reloadAccess: async () => await auth.reload?.(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** A given host, or the IPv4 loopback and the IPv6 one on the same port. */
async function listenOn(server: DoorServer, host: string, port: number): Promise<number> {
  const bound = await server.listen(host, port);
  if (host !== LOOPBACK) return bound;
  try {
    await server.listen('::1', bound);
  } catch (error) {
    // A machine without IPv6 has no ::1 to listen on.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EADDRNOTAVAIL' && code !== 'EAFNOSUPPORT') throw error;
  }
  return bound;
}
