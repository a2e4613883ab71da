import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId, ContextId, PublicKey } from '#shared/domain/ids.ts';
import type { Transaction, TransactionRequest } from '#shared/domain/transaction.ts';
import {
  type CommitEntry,
  type CommitLane,
  commitEntryOf,
  type RollbackReason,
} from '../commit/commit-entry.ts';
import { decodeUpgrade } from '#shared/protocol/upgrade.ts';
import { type CloseCode, closedError, closeErrorOf, heldBackError } from './lane-errors.ts';
import { JobQueue } from './job-queue.ts';
import { createJob, type Job } from './lane-job.ts';
import type { LaneOptions } from './lane-options.ts';
import { type LaneReply, replyOf, replyOfRun } from './lane-reply.ts';
import { demandSame, RequestIndex } from './request-index.ts';
import type { Ran, RunMode } from './run-messages.ts';
import { SnapshotPolicy } from './snapshot-policy.ts';
import { WorkerLostError, type WorkerSlot } from './worker-pool.ts';

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
  readonly #jobs = new JobQueue();
  readonly #requests = new RequestIndex<LaneReply>();
  #members: ReadonlySet<string> = new Set();
  #slot: WorkerSlot;
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
    this.#slot = options.slot;
    options.slot.onLost(this.#onWorkerLost);
  }

  get slot(): WorkerSlot {
    return this.#slot;
  }

  get isIdle(): boolean {
    return this.#jobs.size === 0;
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
      this.#jobs.push(createJob(request, mode, { requests: this.#requests, resolve, reject }));
      this.#sendWaiting();
    });
  }

  #refusal(): AppError | null {
    if (this.#stage === 'closed') return closedError();
    if (this.#isHeldBack) return heldBackError();
    const isFull = this.#jobs.size >= this.#options.queueMax;
    return isFull ? new AppError('overloaded', 'the context has too many requests waiting') : null;
  }

  /** Sends what waits, in order; nothing runs behind a tombstone that may yet be rolled back. */
  #sendWaiting(): void {
    if (this.#stage !== 'ready') return;
    while (!this.#isDeleting()) {
      const job = this.#jobs.send();
      if (job === null) return;
      this.#run(job);
    }
  }

  #isDeleting(): boolean {
    return this.#tombstone !== null && this.#jobs.isSent(this.#tombstone);
  }

  #run(job: Job): void {
    job.attempts += 1;
    if (job.attempts > ATTEMPTS_MAX) {
      this.#jobs.remove(job);
      job.reject(new AppError('unavailable', 'the execution was interrupted too often, try again'));
      return;
    }
    if (job.request.kind === 'delete') this.#tombstone = job;
    const { ticket, request, mode } = job;
    this.#slot.run(
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
    const isHeavy = ran.outcome.fuelUsed >= this.#options.heavyCallFuel;
    this.#jobs.ran(isHeavy);
    this.#settleRun(job, ran);
    if (isHeavy && this.#stage === 'ready') this.#options.onHeavyCall(this);
    this.#sendWaiting();
  }

  #settleRun(job: Job, ran: Ran): void {
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
    this.#jobs.remove(job);
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
    this.#jobs.sendBack((job) => job.stage === 'running');
    for (const job of this.#jobs.takeWaiting()) job.reject(heldBackError());
  }

  committed(entries: readonly CommitEntry[]): void {
    for (const { changedBytes, upgradedTo, isTombstone } of entries) {
      const job = this.#jobs.first('committing');
      if (job?.reply) {
        this.#jobs.remove(job);
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
      const error = closeErrorOf(code, this.contextId);
      for (const job of this.#jobs.takeAll()) job.reject(error);
      return;
    }
    const refused = reason === 'refused' ? this.#jobs.first('committing') : undefined;
    if (refused !== undefined) {
      this.#jobs.remove(refused);
      refused.reject(new AppError('internal', 'the transaction cannot be stored'));
    }
    this.#jobs.sendBack((job) => job.stage !== 'waiting');
    this.#noticeNothingCommitting();
    void this.#recover();
  }

  #noticeNothingCommitting(): void {
    if (this.#onNothingCommitting === null || this.#jobs.first('committing') !== undefined) return;
    this.#onNothingCommitting();
    this.#onNothingCommitting = null;
  }

  /** Ends the lane: what it has not answered is refused with `code`. */
  close(code: CloseCode): void {
    if (this.#stage === 'closed') return;
    this.#resized(0);
    this.#stage = 'closed';
    this.#leaveSlot();
    // What is being committed may be in the log already: its commit alone can tell.
    const isOpen = (job: Job): boolean => code === 'stale_epoch' && job.stage === 'committing';
    const error = closeErrorOf(code, this.contextId);
    for (const job of this.#jobs.takeAll(isOpen)) job.reject(error);
    this.#noticeNothingCommitting();
    this.#options.onClosed(this);
  }

  /** Goes on in another thread: what did not run yet waits until the context is loaded there. */
  move(slot: WorkerSlot): void {
    if (slot === this.#slot || this.#stage !== 'ready') return;
    this.#leaveSlot();
    this.#slot = slot;
    slot.onLost(this.#onWorkerLost);
    this.#onWorkerLost();
  }

  #leaveSlot(): void {
    this.#slot.send({ kind: 'close', contextId: this.contextId });
    this.#slot.offLost(this.#onWorkerLost);
  }

  /** Arrow function: it is registered and removed by identity. */
  readonly #onWorkerLost = (): void => {
    if (this.#stage === 'closed') return;
    this.#jobs.sendBack((job) => job.stage === 'running');
    void this.#recover();
  };

  async #recover(): Promise<void> {
    if (this.#stage !== 'ready') return;
    this.#stage = 'recovering';
    try {
      if (this.#jobs.first('committing') !== undefined) {
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
    for (const job of this.#jobs.waiting.slice()) {
      if (job.request.requestId === null) continue;
      const logged = await this.#options.store.findRequest(this, job.request.requestId);
      if (logged === null) continue;
      this.#jobs.remove(job);
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
    const { store } = this.#options;
    const slot = this.#slot;
    const { generation } = slot;
    const loaded = await store.load(this, slot);
    if (this.#stage === 'closed') return;
    this.#members = loaded.members;
    this.#requests.load(loaded.recentRequestIds, loaded.knowsAllRequests);
    await this.#sendUpgrades(slot);
    if (slot.generation !== generation) return await this.#load();
    this.#stage = 'ready';
    this.#sendWaiting();
  }

  /** The programs that waiting upgrades name, which only the thread before had. */
  async #sendUpgrades(slot: WorkerSlot): Promise<void> {
    const upgrades = this.#jobs.waiting.filter(({ request }) => request.kind === 'upgrade');
    for (const { request } of upgrades) {
      await this.#options.store.sendProgram(decodeUpgrade(request.payload).to, slot);
    }
  }

  /** Answers what wrote nothing, up to the first job that still waits for its commit. */
  #settleHeld(): void {
    for (let job = this.#jobs.takeHeld(); job !== null; job = this.#jobs.takeHeld()) {
      if (job.reply === null) continue;
      if (this.#options.isLeaseValid()) job.resolve(job.reply);
      else job.reject(new AppError('stale_epoch', 'the executor lost its lease, try again'));
    }
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
    const taken = await this.#slot.snapshot(this.contextId).catch(() => null);
    if (taken !== null) await this.#options.store.writeSnapshot(this, taken);
  }
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error('unknown failure');
}
