import { setTimeout as wait } from 'node:timers/promises';
import { type ConfigOf, ConfigError, loadConfig } from '#shared/config/load-config.ts';
import type { Sections } from '#shared/config/fields.ts';
import { readProgramArguments } from '#shared/config/program-arguments.ts';
import { processSections } from '#shared/config/sections.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { createMetrics } from '#shared/telemetry/metrics.ts';
import { systemClock } from '#shared/util/clock.ts';
import { systemRandom } from '#shared/util/random.ts';
import { connectConfiguredNats, openConfiguredDatabase, waitForSchema } from './connect.ts';
import { DoorServer } from './door-server.ts';
import { startInternalServer } from './internal-server.ts';
import type { Service, ServiceDeps } from './service.ts';
import { aborted, stopSignal } from './stop-signal.ts';
import { TrustedProxies } from './trusted-proxies.ts';

/** A service as a process of its own. */
export interface Program<S extends Sections> {
  readonly name: string;
  /** Its own section, and shared ones beside those that every process reads. */
  readonly sections: S;
  readonly create: (deps: ServiceDeps, config: ProcessConfig & ConfigOf<S>) => Service;
}

type ProcessConfig = ConfigOf<typeof processSections>;

const LINGER_MS = 500;

/**
 * Runs a service until SIGTERM or SIGINT: reads its configuration, waits for what it needs, serves,
 * and ends in order. Exit code 0 after an orderly end; 1 when it cannot run, or took longer than
 * `internal.stopMs` to end; 2 for a bad configuration; 130 at a second signal.
 */
export async function runService<S extends Sections>(program: Program<S>): Promise<void> {
  const config = readConfig(program);
  if (config === null) return;
  const { name } = program;
  const log = createLogger({ name: `cairn-${name}`, level: config.log.level });
  const { stopMs } = config.internal;
  const stop = stopSignal(['SIGINT', 'SIGTERM'], () => {
    log.error('a second signal: ending at once, without order');
  });
  void aborted(stop).then(() =>
    setTimeout(() => {
      log.error({ stopMs }, 'the orderly end took too long: ending at once');
      process.exit(1);
    }, stopMs).unref(),
  );
  process.on('uncaughtExceptionMonitor', (error) => log.fatal({ err: error }, 'a bug'));
  try {
    await serve(program, config, { name, log, stop });
    log.info('ended');
  } catch (error) {
    if (stop.aborted) return log.info('ended before it was ready');
    log.fatal({ err: error }, 'the service cannot run');
    process.exitCode = 1;
  }
}

function readConfig<S extends Sections>({
  name,
  sections,
}: Program<S>): (ProcessConfig & ConfigOf<S>) | null {
  try {
    const sources = readProgramArguments(process.argv.slice(2), process.env);
    const { values } = loadConfig({ ...processSections, ...sections }, sources);
    return values;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    for (const problem of error.problems) process.stderr.write(`cairn ${name}: ${problem}\n`);
    process.exitCode = 2;
    return null;
  }
}

type Waiting = Parameters<typeof waitForSchema>[1];

/** Resolves after the end, in reverse order of what stands here. */
async function serve<S extends Sections>(
  { name, create }: Program<S>,
  config: ProcessConfig & ConfigOf<S>,
  waiting: Waiting,
): Promise<void> {
  const { http, internal, nats, postgres } = config;
  const { log, stop } = waiting;
  await using stack = new AsyncDisposableStack();
  const metrics = createMetrics();
  let running: Service | null = null;
  const isReady = () => !stop.aborted && (running?.isReady() ?? false);
  const internalServer = stack.use(
    await startInternalServer({ ...internal, services: [{ name, isReady }], metrics }),
  );
  const database = stack.use(openConfiguredDatabase(postgres, log));
  const bus = stack.use(await connectConfiguredNats(nats, waiting));
  await waitForSchema(database, waiting);
  const deps: ServiceDeps = {
    database,
    bus,
    metrics,
    log,
    clock: systemClock,
    random: systemRandom,
    proxies: new TrustedProxies(http.trustedProxies),
  };
  const service = create(deps, config);
  const server = stack.use(new DoorServer(service.door === undefined ? [] : [service.door]));
  stack.use(service);
  process.on('SIGHUP', () => void service.reload?.().catch(() => undefined));
  await service.start();
  running = service;
  const port = service.door === undefined ? null : await server.listen(http.host, http.port);
  const { host } = http;
  log.info({ host, port, internalUrl: internalServer.url }, 'serving');
  await aborted(stop);
  log.info('ending');
  await wait(internal.unreadyMs);
  // What runs longer than half of the time is cut off, so that what is left suffices to hand over.
  const { stopMs } = internal;
  await server.drain({ lingerMs: Math.min(LINGER_MS, stopMs / 10), withinMs: stopMs / 2 });
}
