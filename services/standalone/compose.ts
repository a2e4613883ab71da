import { createServer, type IncomingMessage, type Server } from 'node:http';
import { availableParallelism } from 'node:os';
import type { Logger } from 'pino';
import { connectNats } from '#shared/bus/nats-bus.ts';
import type { HttpDoor, Service, ServiceDeps } from '#shared/service/service.ts';
import { listen } from '#shared/service/listen.ts';
import { startInternalServer } from '#shared/service/internal-server.ts';
import { openDatabase } from '#shared/store/database.ts';
import { createMetrics } from '#shared/telemetry/metrics.ts';
import { systemClock } from '#shared/util/clock.ts';
import { systemRandom } from '#shared/util/random.ts';
import { type AdminConfig, adminConfigSchema } from '../admin/config.ts';
import { createAdminService } from '../admin/service.ts';
import { type AuthConfig, authConfigSchema } from '../auth/config.ts';
import { createAuthService } from '../auth/service.ts';
import { type ExecutorConfig, executorConfigSchema } from '../rpc-executor/config.ts';
import { createRpcExecutorService } from '../rpc-executor/service.ts';
import { type FanoutConfig, fanoutConfigSchema } from '../subscription-fanout/config.ts';
import { createFanoutService } from '../subscription-fanout/service.ts';
import { type SyncConfig, syncConfigSchema } from '../sync/config.ts';
import { createSyncService } from '../sync/service.ts';

export interface NodeConfig {
  readonly databaseUrl: string;
  readonly natsUrl: string;
  readonly adminToken: string;
  /** Lets its holder add the first root key. */
  readonly setupToken: string;
  /** Seed of the node's own ed25519 key. */
  readonly nodeKey: Uint8Array;
  /** 32 bytes that encrypt private keys at rest. */
  readonly secretKey: Uint8Array;
  /** Stable name of this node: it takes its own leases back at once after a crash. */
  readonly nodeName: string;
  /** 0 chooses a free port. */
  readonly port: number;
  readonly internalPort: number;
  readonly open: boolean;
  /** Settings that differ from the defaults of a service. */
  readonly auth?: Partial<AuthConfig>;
  readonly executor?: Partial<ExecutorConfig>;
  readonly fanout?: Partial<FanoutConfig>;
  readonly admin?: Partial<AdminConfig>;
  readonly sync?: Partial<SyncConfig>;
  readonly log: Logger;
}

/** A running node: every service in this process, on one port. */
export interface RunningNode extends AsyncDisposable {
  readonly url: string;
  readonly internalUrl: string;
  /** Reads the access file again; a file that cannot be used is logged, and changes nothing. */
  reloadAccess(): Promise<void>;
}

/** Starts all services on given Postgres and NATS; disposal drains and stops them in order. */
export async function startNode(config: NodeConfig): Promise<RunningNode> {
  await using stack = new AsyncDisposableStack();
  const { log } = config;
  const database = stack.use(
    openDatabase({
      url: config.databaseUrl,
      poolMax: 16,
      onError: (error) => log.warn({ err: error }, 'lost a Postgres connection'),
    }),
  );
  const bus = stack.use(await connectNats(config.natsUrl, 'cairn-standalone'));
  const metrics = createMetrics();
  const depsOf = (service: string): ServiceDeps => ({
    database,
    bus,
    metrics,
    log: log.child({ service }),
    clock: systemClock,
    random: systemRandom,
  });
  const auth = createAuthService(
    depsOf('auth'),
    authConfigSchema.parse({
      adminToken: config.adminToken,
      open: config.open,
      nodeKey: config.nodeKey,
      secretKey: config.secretKey,
      setupToken: config.setupToken,
      ...config.auth,
    }),
  );
  const services: readonly Service[] = [
    auth,
    createRpcExecutorService(
      depsOf('rpc-executor'),
      executorConfigSchema.parse({
        owner: config.nodeName,
        workers: Math.max(1, availableParallelism() - 1),
        ...config.executor,
      }),
    ),
    createFanoutService(
      depsOf('subscription-fanout'),
      fanoutConfigSchema.parse({ ...config.fanout }),
    ),
    createSyncService(
      depsOf('sync'),
      syncConfigSchema.parse({ databaseUrl: config.databaseUrl, ...config.sync }),
    ),
    createAdminService(
      depsOf('admin'),
      adminConfigSchema.parse({ secretKey: config.secretKey, ...config.admin }),
    ),
  ];
  const doors = services.flatMap(({ door }) => (door === undefined ? [] : [door]));
  const servers = [createDoorServer(doors), createDoorServer(doors)] as const;
  stack.defer(() => cutConnections(servers));
  for (const service of services) {
    stack.use(service);
    await service.start();
  }
  const internal = await startInternalServer({
    host: '127.0.0.1',
    port: config.internalPort,
    services,
    metrics,
  });
  stack.use(internal);
  const port = await listenOnLoopback(servers, config.port);
  stack.defer(() => stopAccepting(servers));
  const running = stack.move();
  return {
    url: `http://127.0.0.1:${port}`,
    internalUrl: internal.url,
    reloadAccess: () => auth.reloadAccess(),
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

/** One server on the IPv4 loopback and one on the IPv6 one, on the same port. */
async function listenOnLoopback(
  [first, second]: readonly [Server, Server],
  port: number,
): Promise<number> {
  const bound = await listen(first, '127.0.0.1', port);
  try {
    await listen(second, '::1', bound);
  } catch (error) {
    // A machine without IPv6 has no ::1 to listen on.
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EADDRNOTAVAIL' && code !== 'EAFNOSUPPORT') throw error;
  }
  return bound;
}

/** Routes by path prefix. */
function createDoorServer(doors: readonly HttpDoor[]): Server {
  const server = createServer((request, response) => {
    const door = doorOf(doors, request);
    if (door !== undefined) door.handle(request, response);
    else response.writeHead(404, { 'content-length': 0 }).end();
  });
  server.on('upgrade', (request, socket, head) => {
    const door = doorOf(doors, request);
    if (door?.upgrade !== undefined) door.upgrade(request, socket, head);
    else socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  });
  return server;
}

function doorOf(doors: readonly HttpDoor[], request: IncomingMessage): HttpDoor | undefined {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  return doors.find(({ prefixes }) =>
    prefixes.some((prefix) => path === prefix || path.startsWith(`${prefix}/`)),
  );
}

/** Requests under way are still answered, by the services that drain next. */
function stopAccepting(servers: readonly Server[]): void {
  for (const server of servers) {
    server.close();
    server.closeIdleConnections();
  }
}

/** Runs after the services: whatever they had to say is written by now. */
function cutConnections(servers: readonly Server[]): void {
  for (const server of servers) server.closeAllConnections();
}
