import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Logger } from 'pino';

const run = promisify(execFile);

const RELEASE = '2.11.4';
const RELEASES_URL = 'https://github.com/nats-io/nats-server/releases/download';
const DOWNLOAD_MS = 60_000;
const APT_MS = 120_000;
const SYSTEM_FOLDERS = ['/usr/local/bin', '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin'];

export interface NatsBinaryOptions {
  /** Where a fetched one is cached. */
  readonly home: string;
  readonly log: Logger;
  /** Folders to look in; PATH and the usual ones unless told. */
  readonly searchPath?: readonly string[];
  /** Where to fetch it, in order. */
  readonly sources?: readonly (keyof typeof SOURCES)[];
  readonly releasesUrl?: string;
}

const SOURCES = { debian: fromDebian, release: fromRelease };

/**
 * Finds a `nats-server` of version 2.9 or newer: on PATH, cached in `home`, from Debian's package
 * unpacked without touching the system, or from the release archive verified by SHA-256; the last
 * two are cached. Throws one message that says what to do when none can be had.
 */
export async function findNatsServer(options: NatsBinaryOptions): Promise<string> {
  const { home, log, releasesUrl = RELEASES_URL } = options;
  await mkdir(home, { recursive: true });
  const cached = join(home, 'nats-server');
  const path = (process.env['PATH'] ?? '').split(':').filter(Boolean);
  const folders = options.searchPath ?? [...path, ...SYSTEM_FOLDERS];
  const reasons: string[] = [];
  for (const candidate of [...folders.map((folder) => join(folder, 'nats-server')), cached]) {
    const version = await versionOf(candidate);
    if (version === null) continue;
    if (isRecent(version)) return candidate;
    reasons.push(`${candidate} is version ${version}, older than 2.9`);
  }
  for (const name of options.sources ?? ['debian', 'release']) {
    const folder = await mkdtemp(join(tmpdir(), 'cairn-nats-'));
    try {
      await install(await SOURCES[name](folder, releasesUrl), cached);
      log.info({ path: cached }, 'nats-server fetched');
      return cached;
    } catch (error) {
      reasons.push(error instanceof Error ? error.message : String(error));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
  throw new Error(
    `no nats-server could be had:\n${reasons.map((reason) => `  - ${reason}`).join('\n')}\n` +
      'Install nats-server 2.9 or newer so that it is on PATH (Debian, Ubuntu: apt install nats-server; ' +
      'macOS: brew install nats-server), or give the URL of a running one with --nats-url.',
  );
}

async function versionOf(binary: string): Promise<string | null> {
  const { stdout } = await run(binary, ['-v'], { timeout: 10_000 }).catch(() => ({ stdout: '' }));
  return /v?(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? null;
}

function isRecent(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > 2 || (major === 2 && minor >= 9);
}

async function install(binary: string, cached: string): Promise<void> {
  const version = await versionOf(binary);
  if (version === null || !isRecent(version)) {
    throw new Error(`the fetched nats-server is version ${version ?? 'unknown'}, older than 2.9`);
  }
  await copyFile(binary, `${cached}.new`);
  await chmod(`${cached}.new`, 0o755);
  await rename(`${cached}.new`, cached);
}

/** Debian's package, with package lists of our own where the system has none. */
async function fromDebian(folder: string): Promise<string> {
  const options = ['-o', 'APT::Sandbox::User=root', '-o', 'Debug::NoLocking=1'];
  const lists = join(folder, 'apt');
  const own = [...options, '-o', `Dir::State::lists=${lists}`, '-o', `Dir::Cache=${lists}`];
  try {
    const apt = (args: readonly string[]) =>
      run('apt-get', [...args], { cwd: folder, timeout: APT_MS });
    await apt([...options, 'download', 'nats-server']).catch(async () => {
      await mkdir(join(lists, 'partial'), { recursive: true });
      await mkdir(join(lists, 'archives', 'partial'), { recursive: true });
      await apt([...own, 'update']);
      await apt([...own, 'download', 'nats-server']);
    });
    const archive = (await readdir(folder)).find((name) => name.endsWith('.deb'));
    if (archive === undefined) throw new Error('apt-get left no package');
    await run('dpkg-deb', ['-x', archive, 'root'], { cwd: folder });
  } catch (error) {
    const { code, stderr } = error as { code?: unknown; stderr?: string };
    const reason = code === 'ENOENT' ? 'this is no Debian' : (stderr || String(error)).trim();
    throw new Error(`Debian's package could not be fetched: ${reason.split('\n').at(-1)}`, {
      cause: error,
    });
  }
  return join(folder, 'root', 'usr', 'sbin', 'nats-server');
}

async function fromRelease(folder: string, releasesUrl: string): Promise<string> {
  const arch = process.arch === 'x64' ? 'amd64' : process.arch;
  const name = `nats-server-v${RELEASE}-${process.platform}-${arch}`;
  const base = `${releasesUrl}/v${RELEASE}`;
  const sums = (await download(`${base}/SHA256SUMS`)).toString();
  const wanted = new RegExp(`^([0-9a-f]{64}) +\\*?${RegExp.escape(name)}\\.tar\\.gz$`, 'm').exec(
    sums,
  )?.[1];
  if (wanted === undefined) throw new Error(`there is no release archive ${name}.tar.gz`);
  const archive = await download(`${base}/${name}.tar.gz`);
  const actual = createHash('sha256').update(archive).digest('hex');
  if (actual !== wanted) throw new Error(`${name}.tar.gz has SHA-256 ${actual}, not ${wanted}`);
  await writeFile(join(folder, 'archive.tar.gz'), archive);
  await run('tar', ['-xzf', 'archive.tar.gz'], { cwd: folder });
  return join(folder, name, 'nats-server');
}

async function download(url: string): Promise<Buffer> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(DOWNLOAD_MS) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    return Buffer.from(await response.arrayBuffer());
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    const reason = cause instanceof Error ? cause.message : 'unknown failure';
    throw new Error(`${url} could not be downloaded: ${reason}`, { cause: error });
  }
}
