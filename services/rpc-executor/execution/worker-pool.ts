import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { type FromWorker, type ToWorker, WATCH_RUN_ID, WATCH_SLOTS } from './worker-messages.ts';

export interface WorkerPoolOptions {
  readonly size: number;
  /** A run that takes longer loses its worker; its caller is told to retry. */
  readonly wallClockMs: number;
  readonly log: Logger;
}

/** A worker died: what ran on it is gone and the contexts open on it must be loaded again. */
export class WorkerLostError extends Error {
  override readonly name = 'WorkerLostError';
}

type Reply = Extract<FromWorker, { kind: 'ran' | 'snapshot' }>;

interface Waiting {
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/** One thread with its outbox; `generation` grows each time the thread is replaced. */
export class WorkerSlot {
  generation = 0;
  readonly programs = new Set<ApplicationId>();
  readonly #options: WorkerPoolOptions;
  readonly #waiting = new Map<number, Waiting>();
  readonly #lostListeners = new Set<() => void>();
  #worker: Worker;
  #watch: Int32Array = new Int32Array();
  #outbox: ToWorker[] = [];
  #nextRunId = 1;
  #overdueRunId = 0;
  #overdueSinceMs = 0;
  #closed = false;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#worker = this.#startWorker();
  }

  offLost(listener: () => void): void {
    this.#lostListeners.delete(listener);
  }

  onLost(listener: () => void): void {
    this.#lostListeners.add(listener);
  }

  /** Queues a message; everything of one tick travels in one batch. */
  send(message: ToWorker): void {
    if (this.#outbox.length === 0) setImmediate(() => this.#flush());
    this.#outbox.push(message);
  }

  /** Sends a message that is answered. Rejects with WorkerLostError, or AppError of a host fault. */
  call(build: (runId: number) => ToWorker): Promise<Reply> {
    const runId = this.#nextRunId;
    this.#nextRunId = (this.#nextRunId % 0x7fff_fffe) + 1;
    return new Promise((resolve, reject) => {
      this.#waiting.set(runId, { resolve, reject });
      this.send(build(runId));
    });
  }

  /** Replaces the thread when one run has been under way for longer than the wall-clock limit. */
  checkWallClock(): void {
    const runId = Atomics.load(this.#watch, WATCH_RUN_ID);
    const nowMs = performance.now();
    if (runId === 0 || runId !== this.#overdueRunId) {
      this.#overdueRunId = runId;
      this.#overdueSinceMs = nowMs;
      return;
    }
    if (nowMs - this.#overdueSinceMs < this.#options.wallClockMs) return;
    this.#options.log.warn({ runId }, 'execution exceeded the wall clock, replacing its worker');
    const culprit = this.#waiting.get(runId);
    this.#waiting.delete(runId);
    culprit?.reject(
      new AppError('timeout', `execution took longer than ${this.#options.wallClockMs} ms`),
    );
    // Its caller hears of it first: what is lost with the worker is run again, the culprit is not.
    queueMicrotask(() => this.#replace());
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker.terminate();
  }

  #flush(): void {
    const batch = this.#outbox;
    this.#outbox = [];
    if (batch.length > 0) this.#worker.postMessage(batch);
  }

  #startWorker(): Worker {
    const shared = new SharedArrayBuffer(WATCH_SLOTS * 4);
    this.#watch = new Int32Array(shared);
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: { watch: shared },
    });
    worker.on('message', (replies: readonly FromWorker[]) => {
      for (const reply of replies) this.#settle(reply);
    });
    worker.on('error', (error) => this.#options.log.error({ err: error }, 'worker failed'));
    worker.on('exit', () => {
      if (worker === this.#worker && !this.#closed) this.#replace();
    });
    return worker;
  }

  #settle(reply: FromWorker): void {
    const waiting = this.#waiting.get(reply.runId);
    this.#waiting.delete(reply.runId);
    if (reply.kind === 'fault') {
      this.#options.log.error({ reason: reply.message }, 'execution failed in the host');
      waiting?.reject(new AppError('internal', 'the execution failed in the host'));
    } else waiting?.resolve(reply);
  }

  #replace(): void {
    const lost = this.#worker;
    this.generation += 1;
    this.programs.clear();
    this.#outbox = [];
    this.#overdueRunId = 0;
    this.#worker = this.#startWorker();
    void lost.terminate();
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const listener of this.#lostListeners) listener();
    for (const { reject } of waiting) reject(new WorkerLostError('the worker was replaced'));
  }
}

/** A fixed number of worker threads; a context always runs on the same one. */
export class WorkerPool implements AsyncDisposable {
  readonly slots: readonly WorkerSlot[];
  readonly #watchdog: NodeJS.Timeout;

  constructor(options: WorkerPoolOptions) {
    this.slots = Array.from({ length: options.size }, () => new WorkerSlot(options));
    const periodMs = Math.max(10, Math.min(250, options.wallClockMs / 4));
    this.#watchdog = setInterval(() => {
      for (const slot of this.slots) slot.checkWallClock();
    }, periodMs);
  }

  slotOf(contextId: ContextId): WorkerSlot {
    let hash = 0;
    for (let i = 0; i < contextId.length; i += 1) hash = (hash * 31 + contextId.charCodeAt(i)) | 0;
    const slot = this.slots[Math.abs(hash) % this.slots.length];
    if (slot === undefined) throw new Error('a pool has at least one worker');
    return slot;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watchdog);
    await Promise.all(this.slots.map((slot) => slot.close()));
  }
}
