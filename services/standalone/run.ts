import { createServer } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { keyPairOf } from '#shared/crypto/ed25519.ts';
import { publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { listen } from '#shared/service/listen.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { migrate, serviceUrlOf } from '#shared/store/migrate.ts';
import { tlsOf, withPassword } from '#shared/service/connect.ts';
import type { NatsOptions } from '#shared/bus/nats-bus.ts';
import { openDatabase, type TlsOptions } from '#shared/store/database.ts';
import { wasClaimed } from '#shared/store/key-store.ts';
import type { StandaloneConfig } from './config.ts';
import { aborted, stopSignal } from '#shared/service/stop-signal.ts';
import { printBanner } from './banner.ts';
import { startNode } from './compose.ts';
import { type DataDirectory, openDataDirectory } from './data-directory.ts';
import { demoContexts, moveDemo } from './demo-data.ts';
import { startEmbeddedPostgres } from './embedded-postgres.ts';
import { demandSecretKey, settleSecretKey } from './secret-key.ts';
import { startNatsServer } from './nats-server.ts';

export interface StandaloneOptions {
  readonly data: string;
  /** Undefined: at the first start only. */
  readonly demo: boolean | undefined;
  readonly rotateSecretKey: boolean;
  readonly config: StandaloneConfig;
}

const FORCE_EXIT_MS = 20_000;
const TOKEN_BYTES = 24;

/** Starts servers and node, prints the banner, runs until a signal, then stops all in order. */
export async function runStandalone(options: StandaloneOptions): Promise<void> {
  // A terminal that closes sends SIGHUP; to a daemon it means: read the access file again.
  const isDaemon = !process.stdin.isTTY;
  const stop = stopSignal(['SIGINT', 'SIGTERM', ...(isDaemon ? [] : (['SIGHUP'] as const))]);
  void aborted(stop).then(() => setTimeout(() => process.exit(2), FORCE_EXIT_MS).unref());
  const { values, given } = options.config;
  const { http, internal } = values;
  try {
    await using stack = new AsyncDisposableStack();
    const level = given.has('log.level') ? values.log.level : 'warn';
    const log = createLogger({ name: 'cairn', level });
    await demandFree(http.host, http.port);
    await demandFree(internal.host, internal.port);
    let hasStarted = false;
    stack.defer(() => {
      if (hasStarted) process.stdout.write(`Stopped. The data stays in ${options.data}\n`);
    });
    const directory = stack.use(await openDataDirectory(options.data));
    const servers = await startServers(stack, directory, { config: options.config, log });
    const adminToken =
      values.auth.adminToken ?? (await directory.secret('admin-token', TOKEN_BYTES));
    const setupToken = values.auth.setupToken ?? (await directory.secret('setup-token', 16));
    const nodeKey =
      values.auth.nodeKey ?? Buffer.from(await directory.secret('node-key', 32), 'hex');
    const node = stack.use(
      await startNode({
        ...servers,
        auth: {
          ...values.auth,
          accessFile: values.auth.accessFile ?? join(directory.path, 'access.toml'),
        },
        admin: values.admin,
        executor: values['rpc-executor'],
        fanout: values['subscription-fanout'],
        sync: values.sync,
        poolMax: values.postgres.poolMax,
        adminToken,
        setupToken,
        nodeKey,
        secretKey: await secretKeyOf(directory, servers, options),
        nodeName: values['rpc-executor'].owner ?? (await directory.secret('node-name', 8)),
        ...http,
        internalHost: internal.host,
        internalPort: internal.port,
        open: values.auth.open,
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
      setupToken: (await canBeClaimed(servers, values.auth.firstRootKey)) ? setupToken : null,
      pid: process.pid,
      isOpen: values.auth.open,
      checksNearAccounts: Object.keys(values.auth.nearRpcUrls).length > 0,
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
    // Everything was stopped; should something hold the process all the same, it ends here.
    setTimeout(() => process.exit(1), FORCE_EXIT_MS).unref();
  }
}

interface Servers {
  readonly databaseUrl: string;
  readonly databaseTls: TlsOptions | null;
  readonly natsUrl: string;
  readonly nats: NatsOptions;
}

/** Those of the configuration, else embedded ones; the schema is brought up to date. */
async function startServers(
  stack: AsyncDisposableStack,
  directory: DataDirectory,
  { config, log }: { readonly config: StandaloneConfig; readonly log: Logger },
): Promise<Servers> {
  const { values, given } = config;
  const { postgres } = values;
  const ownerUrl =
    postgres.ownerUrl === null
      ? await embedPostgres(stack, directory, log)
      : withPassword(postgres.ownerUrl, postgres.ownerPassword);
  const hasNats = given.has('nats.url');
  const natsUrl = hasNats ? values.nats.url : await embedNats(stack, directory, log);
  const servicePassword =
    postgres.password ?? (await directory.secret('postgres-service-password', TOKEN_BYTES));
  const databaseTls = tlsOf(postgres);
  await migrate({ ownerUrl, servicePassword, tls: databaseTls });
  return {
    databaseUrl: serviceUrlOf(ownerUrl, servicePassword),
    databaseTls,
    natsUrl,
    nats: hasNats ? { ...values.nats, tls: tlsOf(values.nats) } : {},
  };
}

/** One of the configuration is not rotated here: it is not ours to write. */
async function secretKeyOf(
  directory: DataDirectory,
  { databaseUrl: url, databaseTls: tls }: Servers,
  { config, rotateSecretKey }: StandaloneOptions,
): Promise<Uint8Array> {
  const given = config.values.node.secretKey;
  if (given === undefined) return await settleSecretKey(directory, { url, tls }, rotateSecretKey);
  if (rotateSecretKey) {
    throw new Error('node.secretKey is given by the configuration: it cannot be rotated');
  }
  await demandSecretKey(given, { url, tls });
  return given;
}

/** Whether the setup token is of any use. */
async function canBeClaimed(
  { databaseUrl: url, databaseTls: tls }: Servers,
  firstRootKey: string | null,
): Promise<boolean> {
  if (firstRootKey !== null) return false;
  await using database = openDatabase({ url, tls, poolMax: 1, onError: () => undefined });
  return !(await wasClaimed(database));
}

/** Before anything is made: a taken port would only be noticed at the end. */
async function demandFree(host: string, port: number): Promise<void> {
  const probe = createServer();
  await listen(probe, host, port);
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
