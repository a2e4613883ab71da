import { MessageChannel, Worker } from 'node:worker_threads';
import { AppError, ERROR_TABLE, type ErrorCode } from '#shared/domain/app-error.ts';
import { STACK_SIZE_MB } from '#shared/runtime/metering/instrument.ts';
import type { TlsOptions } from '#shared/store/database.ts';
import { rangeOf } from './execution.ts';
import {
  type FromReplay,
  type ReplayPlan,
  type ReplayResult,
  type ReplayTask,
  WATCH_BYTES,
  WATCH_SEQUENCE,
} from './messages.ts';

export interface ReplayThreadsOptions {
  readonly databaseUrl: string;
  readonly databaseTls?: TlsOptions | null;
  /** One transaction that runs for longer ends the replay. */
  readonly wallClockMs: number;
}

export interface ReplayRun {
  readonly task: ReplayTask;
  /** Ends the replay at once, with an AppError `unavailable`. */
  readonly signal: AbortSignal;
  /** Transactions that were run, of how many. */
  readonly onProgress: (done: number, of: number) => void;
}

interface Threads {
  readonly reader: Worker;
  readonly executor: Worker;
  readonly watch: BigInt64Array;
}

const WATCH_MS = 250;

/**
 * Replays logs in two threads of their own, one replay at a time: one reads and follows the chain,
 * one executes. The threads are started when they are needed, and kept until this is disposed.
 */
export class ReplayThreads implements AsyncDisposable {
  readonly #options: ReplayThreadsOptions;
  #threads: Threads | null = null;

  constructor(options: ReplayThreadsOptions) {
    this.#options = options;
  }

  /** Throws AppErrors: those of the log, `internal` for a failure of the host. */
  async run({ task, signal, onProgress }: ReplayRun): Promise<ReplayResult> {
    signal.throwIfAborted();
    const threads = (this.#threads ??= this.#start());
    using stack = new DisposableStack();
    let plan: ReplayPlan | null = null;
    let done = 0;
    const result = await new Promise<ReplayResult>((resolve, reject) => {
      const fail = (error: unknown) => {
        // What is under way is given up with the threads.
        void this.#end();
        reject(error);
      };
      const listen = (worker: Worker) => {
        const onMessage = (message: FromReplay) => {
          switch (message.kind) {
            case 'planned':
              ({ plan } = message);
              return;
            case 'progress':
              ({ done } = message);
              if (plan !== null) onProgress(done, Number(plan.to - plan.from) + 1);
              return;
            case 'finished':
              return resolve(message.result);
            case 'failed':
              return fail(errorOf(message));
          }
        };
        const onError = (error: unknown) => fail(crashOf(error));
        const onExit = () => fail(crashOf(null));
        worker.on('message', onMessage).on('error', onError).on('exit', onExit);
        stack.defer(() => {
          worker.off('message', onMessage).off('error', onError).off('exit', onExit);
        });
      };
      listen(threads.reader);
      listen(threads.executor);
      const onAbort = () => fail(new AppError('unavailable', 'the replay was stopped'));
      signal.addEventListener('abort', onAbort, { once: true });
      stack.defer(() => signal.removeEventListener('abort', onAbort));
      const watchdog = this.#watch(threads, (sequence) => {
        if (plan?.kind !== 'verify') return fail(hungError(sequence, this.#options.wallClockMs));
        void this.#end();
        resolve(hungVerification(plan, done, sequence));
      });
      stack.defer(() => clearInterval(watchdog));
      threads.reader.postMessage(task);
    });
    return result;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }

  #start(): Threads {
    const { port1, port2 } = new MessageChannel();
    const watch = new SharedArrayBuffer(WATCH_BYTES);
    const { databaseUrl, databaseTls } = this.#options;
    const executor = new Worker(new URL('./executor-thread.ts', import.meta.url), {
      workerData: { reader: port1, watch },
      resourceLimits: { stackSizeMb: STACK_SIZE_MB },
      transferList: [port1],
    });
    const reader = new Worker(new URL('./reader-thread.ts', import.meta.url), {
      workerData: { databaseUrl, databaseTls, executor: port2 },
      transferList: [port2],
    });
    const threads = { reader, executor, watch: new BigInt64Array(watch) };
    // One that dies between two replays must not take the process with it.
    for (const worker of [reader, executor]) worker.on('error', () => void this.#end());
    return threads;
  }

  async #end(): Promise<void> {
    const threads = this.#threads;
    this.#threads = null;
    await Promise.all([threads?.reader.terminate(), threads?.executor.terminate()]);
  }

  /** Calls `onHung` when the executor has been at one transaction for too long. */
  #watch({ watch }: Threads, onHung: (sequence: bigint) => void): NodeJS.Timeout {
    let overdue = 0n;
    let sinceMs = 0;
    const { wallClockMs } = this.#options;
    return setInterval(
      () => {
        const sequence = Atomics.load(watch, WATCH_SEQUENCE);
        const nowMs = performance.now();
        if (sequence === 0n || sequence !== overdue) {
          overdue = sequence;
          sinceMs = nowMs;
        } else if (nowMs - sinceMs >= wallClockMs) onHung(sequence);
      },
      Math.min(WATCH_MS, wallClockMs),
    );
  }
}

function hungVerification(plan: ReplayPlan, done: number, sequence: bigint): ReplayResult {
  const hungAt = sequence.toString();
  const found = { outcome: 'hung', verified: done, divergence: null, hungAt } as const;
  return { kind: 'verify', verification: { ...rangeOf(plan), ...found } };
}

function hungError(sequence: bigint, wallClockMs: number): AppError {
  return new AppError('timeout', `transaction ${sequence} ran for more than ${wallClockMs} ms`);
}

function errorOf({ code, message }: Extract<FromReplay, { kind: 'failed' }>): AppError {
  const isKnown = code !== null && Object.hasOwn(ERROR_TABLE, code);
  return new AppError(isKnown ? (code as ErrorCode) : 'internal', message);
}

function crashOf(error: unknown): AppError {
  const reason = error instanceof Error ? error.message : 'the thread ended';
  return new AppError('internal', `the replay broke off: ${reason}`);
}
