import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout } from 'node:timers/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

const POLL_MS = 20;
const STOP_MS = 10_000;

/**
 * Stops a server that a killed node left behind: the process of that id, when its command line
 * shows that it is the one meant.
 */
export async function stopLeftover(
  pid: number,
  commandLine: RegExp,
  signal: NodeJS.Signals,
): Promise<void> {
  if (!commandLine.test(await commandLineOf(pid))) return;
  process.kill(pid, signal);
  for (let waitedMs = 0; commandLine.test(await commandLineOf(pid)); waitedMs += POLL_MS) {
    if (waitedMs >= STOP_MS) process.kill(pid, 'SIGKILL');
    await setTimeout(POLL_MS);
  }
}

/** Empty for a process that has ended, also while it is a zombie. */
async function commandLineOf(pid: number): Promise<string> {
  if (process.platform === 'linux') {
    const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    return text.replaceAll('\0', ' ');
  }
  const { stdout } = await run('ps', ['-o', 'command=', '-p', String(pid)]).catch(() => ({
    stdout: '',
  }));
  return stdout;
}

/** A port of the IPv4 loopback that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('no port was bound'));
      });
    });
  });
}
