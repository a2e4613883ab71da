import { createHash, randomBytes } from 'node:crypto';
import { access, mkdir, open, readFile, realpath, rename, rm, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The one directory that a node keeps everything in; only one node can hold it. */
export interface DataDirectory extends AsyncDisposable {
  readonly path: string;
  /** A random secret in hex, made on first use and readable by its owner only. */
  secret(name: string, bytes: number): Promise<string>;
  /** Puts one secret in the place of another, at once. Rejects when there is none to put. */
  replaceSecret(name: string, by: string): Promise<void>;
  hasSecret(name: string): Promise<boolean>;
  forgetSecret(name: string): Promise<void>;
}

/** Opens, and makes, a data directory. Throws when another node holds it. */
export async function openDataDirectory(path: string): Promise<DataDirectory> {
  await mkdir(join(path, 'secrets'), { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw new Error(
      `the data directory ${path} cannot be made: ${error instanceof Error ? error.message : 'unknown failure'}`,
      {
        cause: error,
      },
    );
  });
  const real = await realpath(path);
  const lock = await acquireLock(real);
  return {
    path: real,
    secret: (name, bytes) => loadSecret(join(real, 'secrets', name), bytes),
    replaceSecret: (name, by) => rename(join(real, 'secrets', by), join(real, 'secrets', name)),
    hasSecret: async (name) =>
      await access(join(real, 'secrets', name)).then(
        () => true,
        () => false,
      ),
    forgetSecret: (name) => rm(join(real, 'secrets', name), { force: true }),
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => lock.close(() => resolve())),
  };
}

async function loadSecret(file: string, bytes: number): Promise<string> {
  const known = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (known !== null) return known.trim();
  const secret = randomBytes(bytes).toString('hex');
  const temporary = `${file}.new`;
  {
    await using handle = await open(temporary, 'w', 0o600);
    await handle.writeFile(`${secret}\n`);
    await handle.sync();
  }
  await rename(temporary, file);
  return secret;
}

/**
 * A listening socket is a lock that the operating system releases with its process, however that
 * ends. Linux has sockets without a file; elsewhere a file may be left over, which nobody answers.
 */
async function acquireLock(path: string): Promise<Server> {
  const name = `cairn-${createHash('sha256').update(path).digest('hex').slice(0, 32)}`;
  const isAbstract = process.platform === 'linux';
  const address = isAbstract ? `\0${name}` : join(tmpdir(), `${name}.sock`);
  try {
    return await listen(address);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    const holder = await askHolder(address);
    if (holder === null && !isAbstract) {
      await unlink(address);
      return await listen(address);
    }
    throw new Error(
      `another Cairn node${holder === null ? '' : ` (process ${holder})`} is using ${path}: ` +
        'stop it, or choose another directory with --data',
      { cause: error },
    );
  }
}

/** Tells whoever connects which process holds the lock. */
function listen(address: string): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(String(process.pid));
  });
  server.unref();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => resolve(server));
  });
}

function askHolder(address: string): Promise<string | null> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(address);
    socket.setTimeout(1_000, () => socket.destroy());
    socket.on('data', (data) => {
      text += data.toString();
    });
    socket.on('error', () => resolve(null));
    socket.on('close', () => resolve(/^\d+$/.test(text) ? text : null));
  });
}
