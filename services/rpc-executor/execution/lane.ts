import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId, ContextId, PublicKey } from '#shared/domain/ids.ts';
import type { Transaction, TransactionRequest } from '#shared/domain/transaction.ts';
import { decodeUpgrade } from '#shared/protocol/upgrade.ts';
import type { CommitEntry, CommitLane, Committer, RollbackReason } from '../commit/committer.ts';
import { type CloseCode, closedError, closeErrorOf, heldBackError } from './lane-errors.ts';
import { bytesOf, type LaneReply, replyOf } from './lane-reply.ts';
import type { Job } from './lane-job.ts';
import type { KnownRequest, LaneStore } from './lane-store.ts';
import { demandSame, fingerprintOfCall, RequestIndex } from './request-index.ts';
import { SnapshotPolicy } from './snapshot-policy.ts';
import type { FromWorker, RunMode } from './worker-messages.ts';
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
    const grown = stateBytes - this.#stateBytes;
    this.#stateBytes = stateBytes;
    this.#options.onResized(grown);
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
    const fingerprint = fingerprintOfCall(request);
    const known = this.#requests.get(requestId);
    if (known !== undefined) {
      demandSame(fingerprint, known.fingerprint);
      return known.reply;
    }
    const reply = this.#enqueue(request, mode);
    this.#requests.add(requestId, { fingerprint, reply });
    return reply;
  }

  #enqueue(request: TransactionRequest, mode: RunMode): Promise<LaneReply> {
    return new Promise<LaneReply>((resolve, reject) => {
      if (this.#stage === 'closed') return reject(closedError());
      if (this.#isHeldBack) return reject(heldBackError());
      if (this.#waiting.length + this.#sent.size >= this.#options.queueMax) {
        return reject(new AppError('overloaded', 'the context has too many requests waiting'));
      }
      const job: Job = {
        request,
        mode,
        resolve,
        reject,
        attempts: 0,
        stage: 'waiting',
        heldReply: null,
        ticket: Symbol('ticket'),
      };
      this.#waiting.push(job);
      this.#sendWaiting();
    });
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
    const ticket = Symbol('ticket');
    job.ticket = ticket;
    this.#sent.add(job);
    const { contextId } = this;
    this.#options.slot
      .call((runId) => ({ kind: 'run', runId, contextId, request: job.request, mode: job.mode }))
      .then(
        (reply) => {
          if (job.ticket === ticket && reply.kind === 'ran') this.#ran(job, reply);
        },
        (error: unknown) => {
          if (job.ticket === ticket) this.#runFailed(job, error);
        },
      );
  }

  #ran(job: Job, reply: Extract<FromWorker, { kind: 'ran' }>): void {
    const { outcome, appended } = reply;
    this.resize(reply.stateBytes);
    if (reply.logs.length > 0) this.#options.onLogs(this.contextId, reply.logs);
    if (appended === null) {
      const held = { outcome, sequence: null, hash: null };
      const { requestId } = job.request;
      if (requestId === null || this.#requests.isComplete) this.#hold(job, held);
      else void this.#holdUnlessLogged(job, requestId, held);
      return;
    }
    job.stage = 'committing';
    const transaction: Transaction = {
      ...job.request,
      ...outcome,
      contextId: this.contextId,
      ...appended,
    };
    this.#options.committer.add({ lane: this, transaction, stateBytes: reply.stateBytes });
  }

  #hold(job: Job, reply: LaneReply): void {
    job.stage = 'held';
    job.heldReply = reply;
    this.#settleHeld();
  }

  /** The unique index refuses to append a request twice; what appends nothing must ask the log. */
  async #holdUnlessLogged(job: Job, requestId: string, reply: LaneReply): Promise<void> {
    const { ticket } = job;
    try {
      const logged = await this.#options.store.findRequest(this, requestId);
      if (job.ticket !== ticket) return;
      if (logged !== null) demandSame(fingerprintOfCall(job.request), logged.fingerprint);
      this.#hold(job, logged?.reply ?? reply);
    } catch (error) {
      if (job.ticket === ticket) this.#runFailed(job, error);
    }
  }

  #runFailed(job: Job, error: unknown): void {
    if (error instanceof WorkerLostError) return;
    this.#sent.delete(job);
    job.reject(error instanceof Error ? error : new Error('unknown failure'));
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
    for (const { transaction } of entries) {
      const job = this.#firstSent('committing');
      if (job !== undefined) {
        this.#sent.delete(job);
        job.resolve(replyOf(transaction));
        const { requestId } = transaction;
        if (requestId !== null) this.#requests.resize(requestId, bytesOf(transaction));
      }
      this.#snapshots.add(transaction);
      if (transaction.kind === 'upgrade') {
        this.applicationId = decodeUpgrade(transaction.payload).to;
      }
      if (transaction.kind === 'delete') this.close('context_not_found');
    }
    this.#settleHeld();
    this.#maybeSnapshot();
    this.#noticeNothingCommitting();
  }

  rolledBack(_entries: readonly CommitEntry[], reason: RollbackReason): void {
    this.#options.committer.withdraw(this);
    if (reason === 'fenced') return this.close('stale_epoch');
    if (reason === 'unknown') return this.close('unavailable');
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
    this.resize(0);
    this.#stage = 'closed';
    this.#options.slot.send({ kind: 'close', contextId: this.contextId });
    this.#options.slot.offLost(this.#onWorkerLost);
    const error = closeErrorOf(code, this.contextId);
    for (const job of [...this.#sent, ...this.#waiting]) {
      job.ticket = Symbol('closed');
      job.reject(error);
    }
    this.#sent.clear();
    this.#waiting.length = 0;
    this.#noticeNothingCommitting();
    this.#options.onClosed(this);
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
      job.heldReply = null;
      job.ticket = Symbol('sent back');
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

  #answer(job: Job, { fingerprint, reply }: KnownRequest): void {
    try {
      demandSame(fingerprintOfCall(job.request), fingerprint);
      job.resolve(reply);
    } catch (error) {
      job.reject(error instanceof Error ? error : new Error('unknown failure'));
    }
  }

  async #load(): Promise<void> {
    const { slot, store } = this.#options;
    const generation = slot.generation;
    const loaded = await store.load(this, slot);
    if (this.#stage === 'closed') return;
    this.#members = loaded.members;
    this.#requests.fill(loaded.recentRequests, loaded.knowsAllRequests);
    if (slot.generation !== generation) return await this.#load();
    this.#stage = 'ready';
    this.#sendWaiting();
  }

  /** Answers what wrote nothing, up to the first job that still waits for its commit. */
  #settleHeld(): void {
    for (const job of this.#sent) {
      if (job.stage !== 'held' || job.heldReply === null) return;
      this.#sent.delete(job);
      if (this.#options.isLeaseValid()) job.resolve(job.heldReply);
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
    void this.#snapshot().finally(() => {
      this.#snapshotting = false;
    });
  }

  async #snapshot(): Promise<void> {
    const { slot, store } = this.#options;
    const reply = await slot
      .call((runId) => ({ kind: 'snapshot', runId, contextId: this.contextId }))
      .catch(() => null);
    if (reply?.kind === 'snapshot') await store.writeSnapshot(this, reply.head, reply.entries);
  }
}
