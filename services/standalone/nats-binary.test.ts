import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createLogger } from '#shared/telemetry/logger.ts';
import { listen } from '#shared/service/listen.ts';
import { findNatsServer } from './nats-binary.ts';

const log = createLogger({ name: 'test', level: 'fatal' });
const name = `nats-server-v2.11.4-${process.platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cairn-nats-test-'));
});
afterEach(() => rm(folder, { recursive: true }));

/** A program that answers `-v` as a nats-server of that version does. */
async function writeServer(path: string, version: string): Promise<void> {
  await mkdir(join(path, '..'), { recursive: true });
  await writeFile(path, `#!/bin/sh\necho nats-server: v${version}\n`);
  await chmod(path, 0o755);
}

/** A release as the publisher's site has it. */
async function serveRelease(sum?: string) {
  await writeServer(join(folder, 'release', name, 'nats-server'), '2.11.4');
  const archive = join(folder, `${name}.tar.gz`);
  await promisify(execFile)('tar', ['-czf', archive, '-C', join(folder, 'release'), name]);
  const bytes = await readFile(archive);
  const sha256 = sum ?? createHash('sha256').update(bytes).digest('hex');
  const files = new Map<string, string | Buffer>([
    ['/v2.11.4/SHA256SUMS', `${'0'.repeat(64)}  other.zip\n${sha256}  ${name}.tar.gz\n`],
    [`/v2.11.4/${name}.tar.gz`, bytes],
  ]);
  const server = createServer((request, response) => {
    const file = files.get(request.url ?? '');
    response.writeHead(file === undefined ? 404 : 200).end(file);
  });
  const port = await listen(server, '127.0.0.1', 0);
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.dispose]: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

const find = (releasesUrl: string, searchPath: readonly string[] = []) =>
  findNatsServer({
    home: join(folder, 'home'),
    log,
    releasesUrl,
    searchPath,
    sources: ['release'],
  });

test('one on the search path is taken, unless it is older than 2.9', async () => {
  await writeServer(join(folder, 'old/nats-server'), '2.8.4');
  await writeServer(join(folder, 'new/nats-server'), '2.9.0');

  const found = await find('http://127.0.0.1:1', [join(folder, 'old'), join(folder, 'new')]);

  expect(found).toBe(join(folder, 'new/nats-server'));
});

test('a release whose SHA-256 fits is kept, and found there the next time', async () => {
  let first: string;
  {
    using release = await serveRelease();
    first = await find(release.url);
  }

  expect(first).toBe(join(folder, 'home/nats-server'));
  expect(await find('http://127.0.0.1:1')).toBe(first);
});

test('a release with another SHA-256 is not run', async () => {
  using release = await serveRelease('f'.repeat(64));

  await expect(find(release.url)).rejects.toThrow(/has SHA-256 [0-9a-f]{64}, not f{64}/);
  await expect(readFile(join(folder, 'home/nats-server'))).rejects.toThrow('ENOENT');
});

test('when none can be had, the message says why and what to do', async () => {
  await writeServer(join(folder, 'old/nats-server'), '2.8.4');

  const failure = find('http://127.0.0.1:1', [join(folder, 'old')]);

  await expect(failure).rejects.toThrow('is version 2.8.4, older than 2.9');
  await expect(failure).rejects.toThrow('SHA256SUMS could not be downloaded');
  await expect(failure).rejects.toThrow('apt install nats-server');
});
