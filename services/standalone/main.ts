import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
import { ConfigError, loadConfig } from '#shared/config/load-config.ts';
import { sourcesOf } from '#shared/config/program-arguments.ts';
import { type StandaloneConfig, standaloneSections } from './config.ts';
import { runStandalone } from './run.ts';

const program = new Command('npm start --')
  .description('Runs a Cairn node: every service in one process, with its own Postgres and NATS.')
  .option('--data <directory>', 'where everything is kept', '.cairn')
  .option('--port <number>', 'port of the node on IPv4 and IPv6 loopback', parsePort, 2528)
  .option('--internal-port <number>', 'port of /livez, /readyz and /metrics', parsePort, 2529)
  .option('--open', 'let callers on this machine in without a token', false)
  .option('--demo', 'install the examples and keep one moving (default on the first start)')
  .option('--no-demo', 'start empty')
  .addOption(
    new Option('--database-url <url>', 'use this Postgres; its role may create roles').env(
      'DATABASE_URL',
    ),
  )
  .addOption(new Option('--nats-url <url>', 'use this NATS, 2.9 or newer').env('NATS_URL'))
  .option(
    '--near-rpc <network=url>',
    'ask this NEAR RPC, at each login, whether the key belongs to its account; may be repeated',
    parseNearRpc,
    {},
  )
  .option('--config <file>', 'TOML file of settings: npm run cairn -- config sample')
  .option('--set <section.key=value>', 'one setting; may be repeated', collect, [])
  .option(
    '--audit-share <part>',
    'part of one core that verifying logs in the background may take, 0 for none',
  )
  .option('--rotate-secret-key', 'seal all private keys with a new key, then run', false)
  .option('--first-root-key <key>', 'wallet key that may claim the node without the setup token')
  .showHelpAfterError('npm start -- --help tells all flags; they go behind the "--"')
  .addOption(
    new Option('--log-level <level>', 'what is logged to standard error')
      .choices(['fatal', 'error', 'warn', 'info', 'debug', 'trace'])
      .default('warn'),
  );

const { data, demo, rotateSecretKey, config, set } = program.parse().opts<{
  data: string;
  demo?: boolean;
  rotateSecretKey: boolean;
  config?: string;
  set: string[];
}>();
const loaded = load();
const { http, internal } = loaded.values;
if (http.port !== 0 && http.port === internal.port) {
  program.error('error: --port and --internal-port cannot be the same');
}
await runStandalone({ data: resolve(data), demo, rotateSecretKey, config: loaded });

/** What flags of old say stands in the configuration, too; they win. */
function load(): StandaloneConfig {
  const settings = {
    port: 'http.port',
    internalPort: 'internal.port',
    open: 'auth.open',
    databaseUrl: 'postgres.ownerUrl',
    natsUrl: 'nats.url',
    nearRpc: 'auth.nearRpcUrls',
    firstRootKey: 'auth.firstRootKey',
    logLevel: 'log.level',
    auditShare: 'sync.auditShare',
  };
  const flags = Object.entries(settings).flatMap(([option, place]) => {
    if (program.getOptionValueSource(option) === 'default') return [];
    const value: unknown = program.getOptionValue(option);
    if (value === undefined) return [];
    return [`${place}=${typeof value === 'string' ? value : JSON.stringify(value)}`];
  });
  try {
    return loadConfig(
      standaloneSections,
      sourcesOf({ config, set: [...set, ...flags] }, process.env),
    );
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return program.error(error.problems.map((problem) => `error: ${problem}`).join('\n'));
  }
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function parseNearRpc(text: string, before: Record<string, string>): Record<string, string> {
  const [, network = '', url = ''] = /^([^=]+)=(https?:\/\/.+)$/.exec(text) ?? [];
  if (network === '' || !URL.canParse(url)) {
    throw new InvalidArgumentError('it is given as testnet=https://rpc.example');
  }
  return { ...before, [network]: url };
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError('a port is a number from 0 to 65535');
  }
  return port;
}
