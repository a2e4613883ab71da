import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { passwordVariableOf } from '#shared/bus/nats-config.ts';
import { BUS_USERS } from '#shared/bus/subjects.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { findNatsServer } from '../../services/standalone/nats-binary.ts';
import { freePort } from '../../services/standalone/processes.ts';
import type { Certificates } from './certificates.ts';
import { eventually } from './eventually.ts';
import { infraDirectory } from './infra.ts';

const CONFIGURATION = join(import.meta.dirname, '../../deploy/nats/nats.conf');

/** A NATS server as it is deployed: every service is a user of its own, with its own rights. */
export interface SecuredNats extends AsyncDisposable {
  readonly url: string;
  passwordOf(user: string): string;
}

export async function startSecuredNats(certificates?: Certificates): Promise<SecuredNats> {
  await using stack = new AsyncDisposableStack();
  const root = await mkdtemp(join(tmpdir(), 'cairn-nats-'));
  stack.defer(() => rm(root, { recursive: true }));
  const [home, secrets] = [join(root, 'etc/nats'), join(root, 'run/secrets')];
  await mkdir(home, { recursive: true });
  await mkdir(secrets, { recursive: true });
  await cp(CONFIGURATION, join(home, 'nats.conf'));
  const passwords = new Map(
    BUS_USERS.map((user) => [user as string, randomBytes(8).toString('hex')]),
  );
  const lines = [...passwords].map(
    ([user, password]) => `${passwordVariableOf(user)}: "${password}"\n`,
  );
  await writeFile(join(secrets, 'nats-passwords.conf'), lines.join(''));
  await writeFile(join(secrets, 'nats-routes.conf'), '');
  const port = await freePort();
  const log = createLogger({ name: 'test', level: 'error' });
  const binary = await findNatsServer({ home: infraDirectory, log });
  const server = spawn(
    binary,
    [
      `--config=${join(home, 'nats.conf')}`,
      '--addr=127.0.0.1',
      `--port=${port}`,
      `--http_port=${await freePort()}`,
      `--cluster=nats://127.0.0.1:${await freePort()}`,
      ...(certificates === undefined ? [] : tlsFlags(certificates)),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let output = '';
  server.stderr.on('data', (text: Buffer) => {
    output += text.toString();
  });
  stack.defer(async () => {
    const ended = new Promise((resolve) => server.once('exit', resolve));
    if (server.exitCode === null && server.kill('SIGINT')) await ended;
  });
  await eventually(() => {
    if (server.exitCode !== null) throw new Error(output);
    return output.includes('Server is ready');
  });
  const running = stack.move();
  return {
    url: `nats://127.0.0.1:${port}`,
    passwordOf: (user) => passwords.get(user) ?? '',
    [Symbol.asyncDispose]: () => running.disposeAsync(),
  };
}

function tlsFlags({ certFile, keyFile }: Certificates): readonly string[] {
  return ['--tls', `--tlscert=${certFile}`, `--tlskey=${keyFile}`];
}
