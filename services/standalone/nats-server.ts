import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { superviseChild } from './child-supervisor.ts';
import { findNatsServer } from './nats-binary.ts';
import { freePort, stopLeftover } from './processes.ts';

/** A NATS server of this node's own. */
export interface NatsServer extends AsyncDisposable {
  /** With the credentials that it demands. */
  readonly url: string;
}

export interface NatsServerOptions {
  /** The binary is cached, and the configuration kept, in `nats` below it. */
  readonly directory: string;
  readonly password: string;
  readonly log: Logger;
}

const USER = 'cairn';
const PAYLOAD_BYTES_MAX = 8 * 1_048_576;

/** Starts a real `nats-server`; what a killed node left running is stopped first. */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  const { directory, password, log } = options;
  const home = join(directory, 'nats');
  const binary = await findNatsServer({ home, log });
  const configFile = join(home, 'nats.conf');
  const pidFile = join(home, 'nats.pid');
  const leftover = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  if (leftover > 1) {
    await stopLeftover(
      leftover,
      new RegExp(`nats-server.* ${RegExp.escape(configFile)}`),
      'SIGINT',
    );
  }
  const port = await freePort();
  await writeFile(configFile, configuration(port, password, pidFile), { mode: 0o600 });
  const child = await superviseChild({
    name: 'nats-server',
    command: binary,
    args: ['-c', configFile],
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
    readyLine: /Server is ready/,
    alarmingLine: /\[(FTL|ERR)\]/,
    stopSignal: 'SIGINT',
    log,
  });
  return {
    url: `nats://${USER}:${encodeURIComponent(password)}@127.0.0.1:${port}`,
    [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
  };
}

function configuration(port: number, password: string, pidFile: string): string {
  return [
    `listen: "127.0.0.1:${port}"`,
    `max_payload: ${PAYLOAD_BYTES_MAX}`,
    `pid_file: ${JSON.stringify(pidFile)}`,
    `authorization { user: ${USER}, password: ${JSON.stringify(password)} }`,
    '',
  ].join('\n');
}
