import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { createLogger } from '#shared/telemetry/logger.ts';
import { findNatsServer } from '../../services/standalone/nats-binary.ts';
import { freePort } from '../../services/standalone/processes.ts';

/** nats-server with its own WebSocket listener, open to everybody. */
export async function startNatsWebSocket(
  stack: AsyncDisposableStack,
  directory: string,
): Promise<{ readonly url: string; readonly port: number; readonly pid: number }> {
  const log = createLogger({ name: 'bench', level: 'error' });
  const binary = await findNatsServer({ home: join(directory, 'nats'), log });
  const [port, webSocketPort] = [await freePort(), await freePort()];
  const file = join(directory, 'nats-web-socket.conf');
  await writeFile(
    file,
    `listen: "127.0.0.1:${port}"\nwebsocket { host: "127.0.0.1", port: ${webSocketPort}, no_tls: true }\n`,
  );
  const child = spawn(binary, ['-c', file], { stdio: ['ignore', 'ignore', 'pipe'] });
  stack.defer(async () => {
    child.kill('SIGINT');
    await once(child, 'exit');
  });
  for await (const line of createInterface({ input: child.stderr })) {
    if (/Server is ready/.test(line)) break;
  }
  child.stderr.resume();
  return { url: `nats://127.0.0.1:${port}`, port: webSocketPort, pid: child.pid ?? 0 };
}
