import { Worker } from 'node:worker_threads';
import type { Logger } from 'pino';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { STACK_SIZE_MB } from '#shared/runtime/metering/instrument.ts';
import { ByteWriter } from '#shared/util/byte-writer.ts';
import { type Ran, readRan, type Run, writeRun } from './run-messages.ts';
import {
  type FromWorker,
  type Snapshot,
  type ToWorker,
  WATCH_RUN_ID,
  WATCH_SLOTS,
} from './worker-messages.ts';

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

/** Who waits for a run; called at once when the answer is there. */
export interface RunListener {
  ran(ran: Ran): void;
  /** WorkerLostError, or AppError: `timeout`, or `internal` for a fault of the host. */
  failed(error: Error): void;
}

interface SnapshotListener {
  taken(snapshot: Snapshot): void;
  failed(error: Error): void;
}

/** One thread with its outbox; `generation` grows each time the thread is replaced. */
export class WorkerSlot {
  generation = 0;
  readonly programs = new Set<ApplicationId>();
  readonly #options: WorkerPoolOptions;
  /** In the order of their runs, in which the thread answers them. */
  #running: { readonly runId: number; readonly listener: RunListener }[] = [];
  readonly #snapshotting = new Map<number, SnapshotListener>();
  readonly #lostListeners = new Set<() => void>();
  #worker: Worker;
  #watch: Int32Array = new Int32Array();
  #outbox: ToWorker[] = [];
  /** What `run` was asked for since the last message of the outbox. */
  readonly #runs = new ByteWriter();
  #isFlushPlanned = false;
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

  /** Queues a message; everything of one tick travels in one batch, in order. */
  send(message: ToWorker): void {
    this.#closeRuns();
    this.#outbox.push(message);
    this.#planFlush();
  }

  /** Queues a run, in order with what is sent. */
  run(run: Run, listener: RunListener): void {
    const runId = this.#takeRunId();
    this.#running.push({ runId, listener });
    writeRun(this.#runs, runId, run);
    this.#planFlush();
  }

  /** Rejects with WorkerLostError, or AppError `internal` for a fault of the host. */
  snapshot(contextId: ContextId): Promise<Snapshot> {
    const runId = this.#takeRunId();
    return new Promise((resolve, reject) => {
      this.#snapshotting.set(runId, { taken: resolve, failed: reject });
      this.send({ kind: 'snapshot', runId, contextId });
    });
  }

  #takeRunId(): number {
    const runId = this.#nextRunId;
    this.#nextRunId = (this.#nextRunId % 0x7fff_fffe) + 1;
    return runId;
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
    const culprit = this.#takeListener(runId);
    culprit?.failed(
      new AppError('timeout', `execution took longer than ${this.#options.wallClockMs} ms`),
    );
    // Its caller hears of it first: what is lost with the worker is run again, the culprit is not.
    queueMicrotask(() => this.#replace());
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker.terminate();
  }

  #planFlush(): void {
    if (this.#isFlushPlanned) return;
    this.#isFlushPlanned = true;
    setImmediate(() => {
      this.#isFlushPlanned = false;
      this.#flush();
    });
  }

  #flush(): void {
    this.#closeRuns();
    const batch = this.#outbox;
    this.#outbox = [];
    const buffers = batch.flatMap((message) =>
      message.kind === 'runs' ? message.bytes.buffer : [],
    );
    if (batch.length > 0) this.#worker.postMessage(batch, buffers);
  }

  #closeRuns(): void {
    if (this.#runs.length > 0) this.#outbox.push({ kind: 'runs', bytes: this.#runs.take() });
  }

  #startWorker(): Worker {
    const shared = new SharedArrayBuffer(WATCH_SLOTS * 4);
    this.#watch = new Int32Array(shared);
    const worker = new Worker(new URL('./worker.ts', import.meta.url), {
      workerData: { watch: shared },
      resourceLimits: { stackSizeMb: STACK_SIZE_MB },
    });
    worker.on('message', (message: FromWorker) => {
      if (worker === this.#worker) this.#receive(message);
    });
    worker.on('error', (error) => this.#options.log.error({ err: error }, 'worker failed'));
    worker.on('exit', () => {
      if (worker === this.#worker && !this.#closed) this.#replace();
    });
    return worker;
  }

  #receive(message: FromWorker): void {
    switch (message.kind) {
      case 'ran':
        readRan(message.bytes, this.#settle);
        break;
      case 'snapshot':
        this.#snapshotting.get(message.runId)?.taken(message);
        this.#snapshotting.delete(message.runId);
        break;
      case 'fault':
        this.#snapshotting.get(message.runId)?.failed(this.#faultOf(message.message));
        this.#snapshotting.delete(message.runId);
        break;
    }
  }

  readonly #settle = (runId: number, result: Ran | string): void => {
    const listener = this.#takeListener(runId);
    if (typeof result === 'string') listener?.failed(this.#faultOf(result));
    else listener?.ran(result);
  };

  #takeListener(runId: number): RunListener | undefined {
    if (this.#running[0]?.runId === runId) return this.#running.shift()?.listener;
    const at = this.#running.findIndex((running) => running.runId === runId);
    return at === -1 ? undefined : this.#running.splice(at, 1)[0]?.listener;
  }

  #faultOf(reason: string): AppError {
    this.#options.log.error({ reason }, 'execution failed in the host');
    return new AppError('internal', 'the execution failed in the host');
  }

  #replace(): void {
    const lost = this.#worker;
    this.generation += 1;
    this.programs.clear();
    this.#outbox = [];
    this.#runs.truncate(0);
    this.#overdueRunId = 0;
    this.#worker = this.#startWorker();
    void lost.terminate();
    const running = this.#running.map(({ listener }) => listener);
    const waiting = [...running, ...this.#snapshotting.values()];
    this.#running = [];
    this.#snapshotting.clear();
    for (const listener of this.#lostListeners) listener();
    for (const listener of waiting) listener.failed(new WorkerLostError('the worker was replaced'));
  }
}

/**
 * A fixed number of worker threads, and one more for contexts whose calls take long: there they
 * hold up each other, and nobody else. A context always runs on the same one of its kind.
 */
export class WorkerPool implements AsyncDisposable {
  readonly #options: WorkerPoolOptions;
  readonly #slots: readonly WorkerSlot[];
  readonly #watchdog: NodeJS.Timeout;
  #heavySlot: WorkerSlot | null = null;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#slots = Array.from({ length: options.size }, () => new WorkerSlot(options));
    const periodMs = Math.max(10, Math.min(250, options.wallClockMs / 4));
    this.#watchdog = setInterval(() => {
      for (const slot of this.#all) slot.checkWallClock();
    }, periodMs);
  }

  slotOf(contextId: ContextId): WorkerSlot {
    let hash = 0;
    for (let i = 0; i < contextId.length; i += 1) hash = (hash * 31 + contextId.charCodeAt(i)) | 0;
    const slot = this.#slots[Math.abs(hash) % this.#slots.length];
    if (slot === undefined) throw new Error('a pool has at least one worker');
    return slot;
  }

  /** The thread for heavy contexts, started when the first of them is seen. */
  get heavySlot(): WorkerSlot {
    this.#heavySlot ??= new WorkerSlot(this.#options);
    return this.#heavySlot;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#watchdog);
    await Promise.all(this.#all.map((slot) => slot.close()));
  }

  get #all(): readonly WorkerSlot[] {
    return this.#heavySlot === null ? this.#slots : [...this.#slots, this.#heavySlot];
  }
}
