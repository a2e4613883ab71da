import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Logger } from 'pino';
import { backoff } from '#shared/util/backoff.ts';

export interface ChildOptions {
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** The line on standard error that says it can serve. */
  readonly readyLine: RegExp;
  /** Lines on standard error that an operator should see. */
  readonly alarmingLine: RegExp;
  readonly stopSignal: NodeJS.Signals;
  readonly log: Logger;
}

const READY_MS = 60_000;
const STOP_MS = 10_000;
const TAIL_LINES = 10;

/**
 * Starts a server and keeps it running: when it exits by itself, that is reported and it is
 * started again. It lives in a process group of its own, so that Ctrl-C in a terminal reaches the
 * node first. Throws when the first start fails.
 */
export async function superviseChild(options: ChildOptions): Promise<AsyncDisposable> {
  const { name, log, stopSignal } = options;
  const stop = new AbortController();
  let child = await startChild(options);
  let watching = watch();
  // Whatever ends this process without disposal, short of SIGKILL, must not leave the child.
  const onExit = () => void child.kill(stopSignal);
  process.on('exit', onExit);
  return {
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      process.off('exit', onExit);
      await stopChild(child, stopSignal);
      await watching;
    },
  };

  async function watch(): Promise<void> {
    const how = await exitOf(child);
    if (stop.signal.aborted) return;
    log.error(`${name} ${how}, starting it again`);
    for (let attempt = 0; !stop.signal.aborted; attempt += 1) {
      try {
        child = await startChild(options);
        log.warn(`${name} is running again`);
        if (stop.signal.aborted) await stopChild(child, stopSignal);
        else watching = watch();
        return;
      } catch (error) {
        log.error({ err: error }, `${name} did not start`);
        await backoff(attempt, stop.signal);
      }
    }
  }
}

async function startChild(options: ChildOptions): Promise<ChildProcess> {
  const { name, command, args, env, readyLine, alarmingLine, log } = options;
  const child = spawn(command, args, {
    env,
    cwd: '/',
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const tail: string[] = [];
  const ready = Promise.withResolvers<void>();
  const timer = setTimeout(
    () => ready.reject(new Error(`${name} was not ready within ${READY_MS} ms`)),
    READY_MS,
  );
  child.on('error', (error) =>
    ready.reject(new Error(`${name} cannot be started: ${error.message}`)),
  );
  child.on('exit', () =>
    ready.reject(new Error(`${name} ended while it started:\n${tail.join('\n')}`)),
  );
  createInterface({ input: child.stderr }).on('line', (line) => {
    tail.push(line);
    if (tail.length > TAIL_LINES) tail.shift();
    log.debug(`${name}: ${line}`);
    if (alarmingLine.test(line)) log.warn(`${name}: ${line}`);
    if (readyLine.test(line)) ready.resolve();
  });
  try {
    await ready.promise;
    return child;
  } catch (error) {
    await stopChild(child, 'SIGKILL');
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

async function stopChild(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.pid === undefined || hasEnded(child)) return;
  const force = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
  child.kill(signal);
  await exitOf(child);
  clearTimeout(force);
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    const settle = () => resolve(`ended by ${child.signalCode ?? `exit code ${child.exitCode}`}`);
    if (hasEnded(child)) settle();
    else child.once('exit', settle);
  });
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
