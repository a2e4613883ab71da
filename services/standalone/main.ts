import { resolve } from 'node:path';
import { Command, InvalidArgumentError, Option } from 'commander';
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
    'asks this NEAR RPC whether a key belongs to its account; may be repeated',
    parseNearRpc,
    {},
  )
  .option(
    '--audit-share <part>',
    'part of one core that verifying logs in the background may take, 0 for none',
    parseShare,
    0.05,
  )
  .option('--rotate-secret-key', 'seal all private keys with a new key, then run', false)
  .option('--first-root-key <key>', 'wallet key that may claim the node without the setup token')
  .showHelpAfterError('npm start -- --help tells all flags; they go behind the "--"')
  .addOption(
    new Option('--log-level <level>', 'what is logged to standard error')
      .choices(['fatal', 'error', 'warn', 'info', 'debug', 'trace'])
      .default('warn'),
  );

const options = program.parse().opts<{
  data: string;
  port: number;
  internalPort: number;
  open: boolean;
  demo?: boolean;
  databaseUrl?: string;
  natsUrl?: string;
  logLevel: string;
  firstRootKey?: string;
  rotateSecretKey: boolean;
  auditShare: number;
  nearRpc: Record<string, string>;
}>();
if (options.port !== 0 && options.port === options.internalPort) {
  program.error('error: --port and --internal-port cannot be the same');
}
await runStandalone({ ...options, data: resolve(options.data) });

function parseNearRpc(text: string, before: Record<string, string>): Record<string, string> {
  const [, network = '', url = ''] = /^([^=]+)=(https?:\/\/.+)$/.exec(text) ?? [];
  if (network === '' || !URL.canParse(url)) {
    throw new InvalidArgumentError('it is given as testnet=https://rpc.example');
  }
  return { ...before, [network]: url };
}

function parseShare(text: string): number {
  const share = Number(text);
  if (text.trim() === '' || !(share >= 0 && share <= 1)) {
    throw new InvalidArgumentError('a share is a number from 0 to 1');
  }
  return share;
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new InvalidArgumentError('a port is a number from 0 to 65535');
  }
  return port;
}
