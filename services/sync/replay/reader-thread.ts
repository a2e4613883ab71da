import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { AppError } from '#shared/domain/app-error.ts';
import { openDatabase, type TlsOptions } from '#shared/store/database.ts';
import { isTransient } from '#shared/store/transient.ts';
import { assert } from '#shared/util/assert.ts';
import { ExecutorChannel, SettledError } from './executor-channel.ts';
import { Feeder } from './feeder.ts';
import type { FromReplay, ReplayTask } from './messages.ts';

/** The thread that reads a log, follows its chain, and sends it on to the thread that runs it. */
const port = parentPort;
assert(port !== null, 'this file runs in a worker thread');
const { databaseUrl, databaseTls, executor } = workerData as {
  readonly databaseUrl: string;
  readonly databaseTls?: TlsOptions | null;
  readonly executor: MessagePort;
};
const database = openDatabase({
  url: databaseUrl,
  tls: databaseTls ?? null,
  poolMax: 2,
  onError: () => undefined,
});
const channel = new ExecutorChannel(executor);
const feeder = new Feeder({ database, send: (message) => channel.send(message) });
let running: Promise<void> = Promise.resolve();

port.on('message', (task: ReplayTask) => {
  running = running.then(() => run(task));
});

async function run(task: ReplayTask): Promise<void> {
  await channel.begin(task.share);
  try {
    await feeder.feed(task);
  } catch (error) {
    if (error instanceof SettledError) return;
    tell({ kind: 'failed', ...describe(error) });
  }
}

function describe(error: unknown): { readonly code: string | null; readonly message: string } {
  if (isTransient(error)) return { code: 'unavailable', message: 'Postgres is away, try again' };
  const message = error instanceof Error ? error.message : 'unknown failure';
  return { code: error instanceof AppError ? error.code : null, message };
}

function tell(message: FromReplay): void {
  port?.postMessage(message);
}
