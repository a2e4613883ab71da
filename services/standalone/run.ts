import { createServer } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { keyPairOf } from '#shared/crypto/ed25519.ts';
import { publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { listen } from '#shared/service/listen.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { migrate, serviceUrlOf } from '#shared/store/migrate.ts';
import { stopSignal } from '#shared/service/stop-signal.ts';
import { printBanner } from './banner.ts';
import { startNode } from './compose.ts';
import { type DataDirectory, openDataDirectory } from './data-directory.ts';
import { demoContexts, moveDemo } from './demo-data.ts';
import { startEmbeddedPostgres } from './embedded-postgres.ts';
import { settleSecretKey } from './secret-key.ts';
import { startNatsServer } from './nats-server.ts';

export interface StandaloneOptions {
  readonly data: string;
  readonly port: number;
  readonly internalPort: number;
  readonly open: boolean;
  readonly demo?: boolean;
  readonly databaseUrl?: string;
  readonly natsUrl?: string;
  readonly logLevel: string;
  readonly firstRootKey?: string;
  readonly rotateSecretKey: boolean;
  /** Part of one core that the audit may take. */
  readonly auditShare: number;
  /** JSON-RPC URLs of NEAR by network id. */
  readonly nearRpc: Readonly<Record<string, string>>;
}

const FORCE_EXIT_MS = 20_000;

/** Starts servers and node, prints the banner, runs until a signal, then stops all in order. */
export async function runStandalone(options: StandaloneOptions): Promise<void> {
  // A terminal that closes sends SIGHUP; to a daemon it means: read the access file again.
  const isDaemon = !process.stdin.isTTY;
  const stop = stopSignal(['SIGINT', 'SIGTERM', ...(isDaemon ? [] : (['SIGHUP'] as const))]);
  void aborted(stop).then(() => setTimeout(() => process.exit(2), FORCE_EXIT_MS).unref());
  try {
    await using stack = new AsyncDisposableStack();
    const log = createLogger({ name: 'cairn', level: options.logLevel });
    for (const port of [options.port, options.internalPort]) await demandFree(port);
    let hasStarted = false;
    stack.defer(() => {
      if (hasStarted) process.stdout.write(`Stopped. The data stays in ${options.data}\n`);
    });
    const directory = stack.use(await openDataDirectory(options.data));
    const databaseOwnerUrl = options.databaseUrl ?? (await embedPostgres(stack, directory, log));
    const natsUrl = options.natsUrl ?? (await embedNats(stack, directory, log));
    const servicePassword = await directory.secret('postgres-service-password', 24);
    await migrate({ ownerUrl: databaseOwnerUrl, servicePassword });
    const adminToken = await directory.secret('admin-token', 24);
    const databaseUrl = serviceUrlOf(databaseOwnerUrl, servicePassword);
    const secretKey = await settleSecretKey(directory, databaseUrl, options.rotateSecretKey);
    const setupToken = await directory.secret('setup-token', 16);
    const nodeKey = Buffer.from(await directory.secret('node-key', 32), 'hex');
    const node = stack.use(
      await startNode({
        setupToken,
        nodeKey,
        auth: {
          firstRootKey: options.firstRootKey ?? null,
          nearRpcUrls: options.nearRpc,
          accessFile: join(directory.path, 'access.toml'),
        },
        sync: { auditShare: options.auditShare },
        databaseUrl,
        natsUrl,
        adminToken,
        secretKey,
        nodeName: await directory.secret('node-name', 8),
        port: options.port,
        internalPort: options.internalPort,
        open: options.open,
        log,
      }),
    );
    // The command line finds the node by it.
    await writeFile(join(directory.path, 'url'), `${node.url}\n`);
    const demo = await demoContexts(directory.path, options.demo, {
      url: node.url,
      token: adminToken,
    });
    printBanner({
      url: node.url,
      internalUrl: node.internalUrl,
      dataDirectory: directory.path,
      token: adminToken,
      nodeKey: publicKeyFromBytes(keyPairOf(nodeKey).publicKey),
      setupToken,
      isOpen: options.open,
      checksNearAccounts: Object.keys(options.nearRpc).length > 0,
      demo,
    });
    hasStarted = true;
    if (isDaemon) process.on('SIGHUP', () => void node.reloadAccess().catch(() => undefined));
    log.info({ url: node.url }, 'the node is ready');
    void moveDemo({ url: node.url, token: adminToken }, demo, stop);
    await aborted(stop);
    process.stdout.write('Stopping …\n');
  } catch (error) {
    process.stderr.write(`cairn: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 1;
  }
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

/** Before anything is made: a taken port would only be noticed at the end. */
async function demandFree(port: number): Promise<void> {
  const probe = createServer();
  await listen(probe, '127.0.0.1', port);
  await new Promise((resolve) => probe.close(resolve));
}

async function embedPostgres(
  stack: AsyncDisposableStack,
  directory: DataDirectory,
  log: Logger,
): Promise<string> {
  const password = await directory.secret('postgres-password', 24);
  return stack.use(await startEmbeddedPostgres({ directory: directory.path, password, log }))
    .ownerUrl;
}

async function embedNats(
  stack: AsyncDisposableStack,
  directory: DataDirectory,
  log: Logger,
): Promise<string> {
  const password = await directory.secret('nats-password', 24);
  return stack.use(await startNatsServer({ directory: directory.path, password, log })).url;
}
