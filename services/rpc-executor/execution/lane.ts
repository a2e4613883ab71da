import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId, ContextId, PublicKey } from '#shared/domain/ids.ts';
import type { Transaction, TransactionRequest } from '#shared/domain/transaction.ts';
import {
  type CommitEntry,
  type CommitLane,
  commitEntryOf,
  type RollbackReason,
} from '../commit/commit-entry.ts';
import type { Committer } from '../commit/committer.ts';
import { type CloseCode, closedError, closeErrorOf, heldBackError } from './lane-errors.ts';
import { createJob, type Job } from './lane-job.ts';
import { type LaneReply, replyOf, replyOfRun } from './lane-reply.ts';
import type { LaneStore } from './lane-store.ts';
import { demandSame, RequestIndex } from './request-index.ts';
import type { Ran, RunMode } from './run-messages.ts';
import { SnapshotPolicy } from './snapshot-policy.ts';
import { WorkerLostError, type WorkerSlot } from './worker-pool.ts';

export interface LaneOptions {
  readonly contextId: ContextId;
  readonly partition: number;
  readonly epoch: bigint;
  readonly slot: WorkerSlot;
  readonly committer: Committer;
  readonly store: LaneStore;
  readonly isLeaseValid: () => boolean;
  readonly queueMax: number;
  /** How long calls are refused after one that took too long. */
  readonly holdBackMs: number;
  readonly onClosed: (lane: Lane) => void;
  /** The state of the context in memory grew, or shrank, by so many bytes. */
  readonly onResized: (bytes: number) => void;
  readonly onLogs: (contextId: ContextId, logs: readonly string[]) => void;
}

const ATTEMPTS_MAX = 3;

/**
 * Runs the transactions of one context one at a time, ahead of the commit.
 *
 * `loading` → `ready` → (`recovering` → `ready`)* → `closed`. While not ready, jobs wait in order.
 * A job runs, then either commits or is held; jobs are answered in the order they were sent.
 */
export class Lane implements CommitLane {
  readonly contextId: ContextId;
  readonly partition: number;
  readonly epoch: bigint;
  contextKey = 0n;
  applicationId: ApplicationId | null = null;
  defaultExecutor: PublicKey | null = null;
  lastUsed = 0;
  #stage: 'loading' | 'ready' | 'recovering' | 'closed' = 'loading';
  readonly #options: LaneOptions;
  readonly #waiting: Job[] = [];
  /** Sent and not answered yet, in order. */
  readonly #sent = new Set<Job>();
  readonly #requests = new RequestIndex<LaneReply>();
  #members: ReadonlySet<string> = new Set();
  #stateBytes = 0;
  /** Of the state and of the request ids. */
  #bytes = 0;
  readonly #snapshots: SnapshotPolicy;
  #snapshotting = false;
  #tombstone: Job | null = null;
  #isHeldBack = false;
  #onNothingCommitting: (() => void) | null = null;

  constructor(options: LaneOptions) {
    this.contextId = options.contextId;
    this.partition = options.partition;
    this.epoch = options.epoch;
    this.#options = options;
    this.#snapshots = new SnapshotPolicy(options.store.snapshotEvery);
    options.slot.onLost(this.#onWorkerLost);
  }

  get isIdle(): boolean {
    return this.#sent.size === 0 && this.#waiting.length === 0;
  }

  /** `stateBytes`: of the context's state in the memory of its worker. */
  resize(stateBytes: number): void {
    if (this.#stage === 'closed') return;
    this.#stateBytes = stateBytes;
    this.#resized(stateBytes + this.#requests.bytes);
  }

  #resized(bytes: number): void {
    const grown = bytes - this.#bytes;
    this.#bytes = bytes;
    if (grown !== 0) this.#options.onResized(grown);
  }

  /** Asks the database again: members are added by another service. */
  async refreshMembers(): Promise<void> {
    this.#members = await this.#options.store.loadMembers(this.contextId);
  }

  isMember(key: PublicKey): boolean {
    return this.#members.has(key);
  }

  /** Loads the context from the log. Throws AppError `context_not_found`. */
  open(): Promise<void> {
    return this.#load();
  }

  /**
   * Runs one request after all that were submitted before it. Throws and rejects AppErrors; a
   * retryable one leaves no transaction unless its `requestId` shows otherwise.
   */
  submit(request: TransactionRequest, mode: RunMode): Promise<LaneReply> {
    const { requestId } = request;
    if (requestId === null) return this.#enqueue(request, mode);
    const known = this.#requests.get(requestId);
    if (known === 'logged') return this.#repeat(request, requestId, mode);
    if (known !== undefined) {
      demandSame(request, known.call);
      return known.reply;
    }
    const reply = this.#enqueue(request, mode);
    this.#requests.add(requestId, { call: request, reply });
    return reply;
  }

  /** The answer that the log has to a request. */
  async #repeat(request: TransactionRequest, requestId: string, mode: RunMode): Promise<LaneReply> {
    const logged = await this.#options.store.findRequest(this, requestId);
    if (logged === null) return await this.#enqueue(request, mode);
    demandSame(request, logged);
    return replyOf(logged);
  }

  #enqueue(request: TransactionRequest, mode: RunMode): Promise<LaneReply> {
    return new Promise<LaneReply>((resolve, reject) => {
      const refusal = this.#refusal();
      if (refusal !== null) return reject(refusal);
      this.#waiting.push(createJob(request, mode, { requests: this.#requests, resolve, reject }));
      this.#sendWaiting();
    });
  }

  #refusal(): AppError | null {
    if (this.#stage === 'closed') return closedError();
    if (this.#isHeldBack) return heldBackError();
    const isFull = this.#waiting.length + this.#sent.size >= this.#options.queueMax;
    return isFull ? new AppError('overloaded', 'the context has too many requests waiting') : null;
  }

  /** Sends what waits, in order; nothing runs behind a tombstone that may yet be rolled back. */
  #sendWaiting(): void {
    if (this.#stage !== 'ready') return;
    while (this.#waiting.length > 0 && !this.#isDeleting()) {
      const job = this.#waiting.shift();
      if (job !== undefined) this.#send(job);
    }
  }

  #isDeleting(): boolean {
    return this.#tombstone !== null && this.#sent.has(this.#tombstone);
  }

  #send(job: Job): void {
    job.attempts += 1;
    if (job.attempts > ATTEMPTS_MAX) {
      job.reject(new AppError('unavailable', 'the execution was interrupted too often, try again'));
      return;
    }
    job.stage = 'running';
    if (job.request.kind === 'delete') this.#tombstone = job;
    job.ticket += 1;
    const { ticket, request, mode } = job;
    this.#sent.add(job);
    this.#options.slot.run(
      { contextId: this.contextId, request, mode },
      {
        ran: (ran) => {
          if (job.ticket === ticket) this.#ran(job, ran);
        },
        failed: (error) => {
          if (job.ticket === ticket) this.#runFailed(job, error);
        },
      },
    );
  }

  #ran(job: Job, ran: Ran): void {
    const { appended, logs, stateBytes } = ran;
    this.resize(stateBytes);
    if (logs.length > 0) this.#options.onLogs(this.contextId, logs);
    const reply = replyOfRun(ran);
    if (appended === null) {
      const { requestId } = job.request;
      if (requestId === null || this.#requests.isComplete) this.#hold(job, reply);
      else void this.#holdUnlessLogged(job, requestId, reply);
      return;
    }
    job.stage = 'committing';
    job.reply = reply;
    this.#options.committer.add(commitEntryOf(this, job.request, { ...ran, appended }));
  }

  #hold(job: Job, reply: LaneReply): void {
    job.stage = 'held';
    job.reply = reply;
    this.#settleHeld();
  }

  /** The unique index refuses to append a request twice; what appends nothing must ask the log. */
  async #holdUnlessLogged(job: Job, requestId: string, reply: LaneReply): Promise<void> {
    const { ticket } = job;
    try {
      const logged = await this.#options.store.findRequest(this, requestId);
      if (job.ticket !== ticket) return;
      if (logged !== null) demandSame(job.request, logged);
      this.#hold(job, logged === null ? reply : replyOf(logged));
    } catch (error) {
      if (job.ticket === ticket) this.#runFailed(job, errorOf(error));
    }
  }

  #runFailed(job: Job, error: Error): void {
    if (error instanceof WorkerLostError) return;
    this.#sent.delete(job);
    job.reject(error);
    if (error instanceof AppError && error.code === 'timeout') this.#holdBack();
    this.#settleHeld();
    this.#sendWaiting();
  }

  /** A call cost the worker its thread: what this context asks next must not do so at once. */
  #holdBack(): void {
    this.#isHeldBack = true;
    setTimeout(() => {
      this.#isHeldBack = false;
    }, this.#options.holdBackMs).unref();
    this.#sendBack((job) => job.stage === 'running');
    for (const job of this.#waiting.splice(0)) job.reject(heldBackError());
  }

  committed(entries: readonly CommitEntry[]): void {
    for (const { changedBytes, upgradedTo, isTombstone } of entries) {
      const job = this.#firstSent('committing');
      if (job?.reply) {
        this.#sent.delete(job);
        job.resolve(job.reply);
      }
      this.#snapshots.add(changedBytes);
      if (upgradedTo !== null) this.applicationId = upgradedTo;
      if (isTombstone) this.close('context_not_found');
    }
    this.#settleHeld();
    this.#maybeSnapshot();
    this.#noticeNothingCommitting();
  }

  rolledBack(_entries: readonly CommitEntry[], reason: RollbackReason): void {
    this.#options.committer.withdraw(this);
    if (reason === 'fenced' || reason === 'unknown' || this.#stage === 'closed') {
      const code = reason === 'unknown' ? 'unavailable' : 'stale_epoch';
      this.close(code);
      return this.#rejectAll([...this.#sent], closeErrorOf(code, this.contextId));
    }
    const refused = reason === 'refused' ? this.#firstSent('committing') : undefined;
    if (refused !== undefined) {
      this.#sent.delete(refused);
      refused.reject(new AppError('internal', 'the transaction cannot be stored'));
    }
    this.#sendBack((job) => job.stage !== 'waiting');
    this.#noticeNothingCommitting();
    void this.#recover();
  }

  #noticeNothingCommitting(): void {
    if (this.#onNothingCommitting === null || this.#firstSent('committing') !== undefined) return;
    this.#onNothingCommitting();
    this.#onNothingCommitting = null;
  }

  /** Ends the lane: what it has not answered is refused with `code`. */
  close(code: CloseCode): void {
    if (this.#stage === 'closed') return;
    this.#resized(0);
    this.#stage = 'closed';
    this.#options.slot.send({ kind: 'close', contextId: this.contextId });
    this.#options.slot.offLost(this.#onWorkerLost);
    // What is being committed may be in the log already: its commit alone can tell.
    const isOpen = (job: Job): boolean => code === 'stale_epoch' && job.stage === 'committing';
    const ended = [...this.#sent, ...this.#waiting].filter((job) => !isOpen(job));
    this.#waiting.length = 0;
    this.#rejectAll(ended, closeErrorOf(code, this.contextId));
    this.#noticeNothingCommitting();
    this.#options.onClosed(this);
  }

  #rejectAll(jobs: readonly Job[], error: Error): void {
    for (const job of jobs) {
      this.#sent.delete(job);
      job.ticket += 1;
      job.reject(error);
    }
  }

  /** Arrow function: it is registered and removed by identity. */
  readonly #onWorkerLost = (): void => {
    if (this.#stage === 'closed') return;
    this.#sendBack((job) => job.stage === 'running');
    void this.#recover();
  };

  /** Puts sent jobs back to the front of the queue, in order. */
  #sendBack(isAffected: (job: Job) => boolean): void {
    const back = [...this.#sent].filter(isAffected);
    for (const job of back) {
      this.#sent.delete(job);
      job.stage = 'waiting';
      job.reply = null;
      job.ticket += 1;
    }
    this.#waiting.unshift(...back);
  }

  async #recover(): Promise<void> {
    if (this.#stage !== 'ready') return;
    this.#stage = 'recovering';
    try {
      if (this.#firstSent('committing') !== undefined) {
        await new Promise<void>((resolve) => {
          this.#onNothingCommitting = resolve;
        });
      }
      await this.#answerFromLog();
      await this.#load();
    } catch {
      this.close('unavailable');
    }
  }

  /** After a conflict the log may already hold what a waiting job asks for. */
  async #answerFromLog(): Promise<void> {
    for (const job of this.#waiting.slice()) {
      if (job.request.requestId === null) continue;
      const logged = await this.#options.store.findRequest(this, job.request.requestId);
      if (logged === null) continue;
      this.#waiting.splice(this.#waiting.indexOf(job), 1);
      this.#answer(job, logged);
    }
  }

  #answer(job: Job, logged: Transaction): void {
    try {
      demandSame(job.request, logged);
      job.resolve(replyOf(logged));
    } catch (error) {
      job.reject(errorOf(error));
    }
  }

  async #load(): Promise<void> {
    const { slot, store } = this.#options;
    const generation = slot.generation;
    const loaded = await store.load(this, slot);
    if (this.#stage === 'closed') return;
    this.#members = loaded.members;
    this.#requests.load(loaded.recentRequestIds, loaded.knowsAllRequests);
    if (slot.generation !== generation) return await this.#load();
    this.#stage = 'ready';
    this.#sendWaiting();
  }

  /** Answers what wrote nothing, up to the first job that still waits for its commit. */
  #settleHeld(): void {
    for (const job of this.#sent) {
      if (job.stage !== 'held' || job.reply === null) return;
      this.#sent.delete(job);
      if (this.#options.isLeaseValid()) job.resolve(job.reply);
      else job.reject(new AppError('stale_epoch', 'the executor lost its lease, try again'));
    }
  }

  #firstSent(stage: Job['stage']): Job | undefined {
    for (const job of this.#sent) if (job.stage === stage) return job;
    return undefined;
  }

  #maybeSnapshot(): void {
    const isDue = this.#snapshots.isDue(this.#stateBytes);
    if (!isDue || this.#snapshotting || this.#stage !== 'ready') return;
    this.#snapshotting = true;
    this.#snapshots.reset();
    // One that could not be written is made up for by the next.
    const over = () => {
      this.#snapshotting = false;
    };
    void this.#snapshot().then(over, over);
  }

  async #snapshot(): Promise<void> {
    const { slot, store } = this.#options;
    const taken = await slot.snapshot(this.contextId).catch(() => null);
    if (taken !== null) await store.writeSnapshot(this, taken);
  }
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error('unknown failure');
}
