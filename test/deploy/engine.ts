import { execFile, spawn } from 'node:child_process';
import { access, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createLogger } from '#shared/telemetry/logger.ts';
import { findNatsServer } from '../../services/standalone/nats-binary.ts';
import { eventually } from '../support/eventually.ts';
import { infraDirectory } from '../support/infra.ts';

const run = promisify(execFile);

const ROOT = join(import.meta.dirname, '../..');
/** What the tests need of the images that docker-compose.yml and the test harness name. */
const IMAGES = [
  'node:24-bookworm-slim',
  'postgres:18',
  'nats:2.11-alpine',
  'nats:2.11',
  'nginx:1.28',
];
const PULL_MS = 300_000;
const FORWARDING = '/proc/sys/net/ipv4/ip_forward';

/** Why no Docker engine can be used here. */
export class EngineUnavailable extends Error {
  override readonly name = 'EngineUnavailable';
}

export interface Engine {
  /** Value of `DOCKER_HOST`, or null for the engine that `docker` finds by itself. */
  readonly host: string | null;
  /** `docker compose` or `docker-compose`. */
  readonly compose: readonly string[];
}

/**
 * Finds an engine that runs, else starts one of the tests' own, which ends with the stack; then
 * pulls the images, or builds stand-ins. Throws EngineUnavailable.
 */
export async function startEngine(stack: AsyncDisposableStack): Promise<Engine> {
  await demandProgram('docker', 'the command line of Docker is not there');
  const host = (await isRunning()) ? null : await startDaemon(stack);
  if (host !== null) process.env['DOCKER_HOST'] = host;
  const compose = await findCompose();
  await getImages();
  return { host, compose };
}

async function findCompose(): Promise<readonly string[]> {
  for (const command of [['docker', 'compose'], ['docker-compose']]) {
    const [program = '', ...args] = command;
    if (await succeeds(program, [...args, 'version'])) return command;
  }
  throw new EngineUnavailable('neither "docker compose" nor "docker-compose" is there');
}

function isRunning(): Promise<boolean> {
  return succeeds('docker', ['info', '--format', '{{.ServerVersion}}']);
}

/** `dockerd` with everything it keeps in a folder of its own; what it changes is put back. */
async function startDaemon(stack: AsyncDisposableStack): Promise<string> {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    throw new EngineUnavailable('no Docker engine runs, and only root on Linux can start one');
  }
  await demandProgram('dockerd', 'no Docker engine runs, and there is no dockerd to start');
  const folder = await mkdtemp(join(tmpdir(), 'cairn-docker-'));
  const forwarding = await readFile(FORWARDING, 'utf8');
  const rules = await run('iptables-save').then(
    ({ stdout }) => stdout,
    () => null,
  );
  const hadBridge = await succeeds('ip', ['link', 'show', 'docker0']);
  stack.defer(async () => {
    await run('umount', [join(folder, 'exec/netns/default')]).catch(() => undefined);
    await rm(folder, { recursive: true, force: true });
    if (!hadBridge) await run('ip', ['link', 'delete', 'docker0']).catch(() => undefined);
    if (rules !== null) await restoreRules(rules).catch(() => undefined);
    await writeFile(FORWARDING, forwarding).catch(() => undefined);
  });
  const host = `unix://${folder}/docker.sock`;
  const daemon = spawn(
    'dockerd',
    [
      `--host=${host}`,
      `--data-root=${folder}/data`,
      `--exec-root=${folder}/exec`,
      `--pidfile=${folder}/pid`,
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let output = '';
  daemon.stderr.on('data', (text: Buffer) => {
    output = (output + text.toString()).slice(-4_000);
  });
  const ended = new Promise<void>((resolve) => daemon.once('exit', () => resolve()));
  stack.defer(async () => {
    daemon.kill('SIGTERM');
    await ended;
  });
  const answers = () => succeeds('docker', ['--host', host, 'info']);
  await eventually(async () => daemon.exitCode !== null || (await answers()), 60_000).catch(
    () => undefined,
  );
  if (await answers()) return host;
  throw new EngineUnavailable(`dockerd does not start here: ${output.trim().split('\n').at(-1)}`);
}

async function restoreRules(rules: string): Promise<void> {
  const restoring = run('iptables-restore');
  restoring.child.stdin?.end(rules);
  await restoring;
}

async function getImages(): Promise<void> {
  const missing: string[] = [];
  for (const image of IMAGES) {
    const isThere = await succeeds('docker', ['image', 'inspect', image]);
    if (!isThere && !(await succeeds('docker', ['pull', '--quiet', image]))) missing.push(image);
    if (missing.length > 0) break;
  }
  if (missing.length === 0) return;
  await demandProgram('debootstrap', `${missing.join()} cannot be pulled, nor stood in for`);
  const log = createLogger({ name: 'test', level: 'error' });
  const natsServer = await findNatsServer({ home: infraDirectory, log });
  process.stderr.write('Images cannot be pulled here: building stand-ins from Debian …\n');
  try {
    await run(join(ROOT, 'test/deploy/stand-ins.sh'), [natsServer, process.execPath], {
      maxBuffer: 1e8,
    });
  } catch (error) {
    const { stderr = '' } = error as { stderr?: string };
    throw new EngineUnavailable(`the stand-ins cannot be built: ${stderr.trim().slice(-500)}`);
  }
}

async function demandProgram(name: string, reason: string): Promise<void> {
  for (const folder of (process.env['PATH'] ?? '').split(':')) {
    const found = await access(join(folder, name)).then(
      () => true,
      () => false,
    );
    if (found) return;
  }
  throw new EngineUnavailable(`${reason} (${name} is not on PATH)`);
}

function succeeds(program: string, args: readonly string[]): Promise<boolean> {
  return run(program, [...args], { timeout: PULL_MS }).then(
    () => true,
    () => false,
  );
}
