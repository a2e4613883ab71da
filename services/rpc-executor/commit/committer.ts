import type { Logger } from 'pino';
import type { Database } from '#shared/store/database.ts';
import { ownLog } from '#shared/store/lineage.ts';
import { appendBatch, LogConflictError } from '#shared/store/log-append.ts';
import { readTransactions } from '#shared/store/log-reader.ts';
import { sealOf, sequenceOf } from '#shared/store/log-row.ts';
import { isTransient } from '#shared/store/transient.ts';
import { backoff } from '#shared/util/backoff.ts';
import type { CommitEntry, CommitLane } from './commit-entry.ts';

export interface CommitterOptions {
  readonly database: Database;
  readonly log: Logger;
  /** Largest number of rows in one Postgres transaction, and of bytes but for a single row. */
  readonly rowsMax: number;
  readonly bytesMax: number;
  /** Batches under way at once, each of other lanes. */
  readonly batchesMax: number;
  readonly onCommitted: (entries: readonly CommitEntry[]) => void;
  /** Tells which of the partitions are still ours, asking Postgres. */
  readonly recheck: (partitions: readonly number[]) => Promise<ReadonlySet<number>>;
}

/** A batch that dies so often while Postgres is there will never be taken. */
const ATTEMPTS_MAX = 5;

/**
 * Group commit: the next Postgres transaction takes everything that finished while the last one
 * was under way. No timers; a lane is in at most one batch, so its order holds.
 */
export class Committer {
  readonly #options: CommitterOptions;
  readonly #stop = new AbortController();
  #queue: CommitEntry[] = [];
  readonly #busy = new Set<CommitLane>();
  #underWay = 0;
  #pumpPlanned = false;
  #idle: (() => void)[] = [];

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  add(entry: CommitEntry): void {
    this.#queue.push(entry);
    this.#planPump();
  }

  get queued(): number {
    return this.#queue.length;
  }

  /** Forgets what a lane has queued but not yet sent to Postgres. */
  withdraw(lane: CommitLane): void {
    this.#queue = this.#queue.filter((entry) => entry.lane !== lane);
  }

  /** Resolves once nothing is queued or under way. */
  async drain(): Promise<void> {
    if (this.#underWay === 0 && this.#queue.length === 0) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Gives up waiting for Postgres; what is not known to be committed stays unanswered. */
  abort(): void {
    this.#stop.abort();
  }

  #planPump(): void {
    if (this.#pumpPlanned) return;
    this.#pumpPlanned = true;
    setImmediate(() => {
      this.#pumpPlanned = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#underWay < this.#options.batchesMax) {
      const batch = this.#take();
      if (batch.length === 0) break;
      this.#underWay += 1;
      void this.#commitAndRelease(batch);
    }
    if (this.#underWay === 0 && this.#queue.length === 0) {
      for (const resolve of this.#idle.splice(0)) resolve();
    }
  }

  #take(): CommitEntry[] {
    const { rowsMax, bytesMax } = this.#options;
    const batch: CommitEntry[] = [];
    const rest: CommitEntry[] = [];
    const full = new Set<CommitLane>();
    let bytes = 0;
    for (const entry of this.#queue) {
      const size = entry.row.length;
      const hasRoom = batch.length === 0 || (batch.length < rowsMax && bytes + size <= bytesMax);
      const isFree = hasRoom && !this.#busy.has(entry.lane) && !full.has(entry.lane);
      if (isFree) bytes += size;
      else full.add(entry.lane);
      (isFree ? batch : rest).push(entry);
    }
    for (const { lane } of batch) this.#busy.add(lane);
    this.#queue = rest;
    return batch;
  }

  async #commitAndRelease(batch: readonly CommitEntry[]): Promise<void> {
    try {
      await this.#commit(batch);
    } catch (error) {
      this.#options.log.error({ err: error }, 'commit gave up');
      for (const [lane, entries] of byLane(batch)) lane.rolledBack(entries, 'unknown');
    } finally {
      for (const { lane } of batch) this.#busy.delete(lane);
      this.#underWay -= 1;
      this.#pump();
    }
  }

  /** True once the batch is in the log. */
  async #commit(batch: readonly CommitEntry[]): Promise<boolean> {
    for (let attempt = 0; !this.#stop.signal.aborted; attempt += 1) {
      try {
        const result = await appendBatch(this.#options.database, {
          fences: fences(batch),
          rows: batch,
        });
        if (result === 'committed') return this.#committed(batch);
        return await this.#fenced(batch);
      } catch (error) {
        if (!isTransient(error) || attempt >= ATTEMPTS_MAX) {
          return await this.#refused(batch, error);
        }
        this.#options.log.warn({ err: error, attempt }, 'commit outcome unknown, asking the log');
        await backoff(attempt, this.#stop.signal);
        // This waits until Postgres answers: each attempt met one that was there.
        if (await this.#isInLog(batch)) return this.#committed(batch);
      }
    }
    return false;
  }

  #committed(batch: readonly CommitEntry[]): true {
    this.#options.onCommitted(batch);
    for (const [lane, entries] of byLane(batch)) lane.committed(entries);
    return true;
  }

  /** Some partition was lost: its lanes roll back, the others try again. */
  async #fenced(batch: readonly CommitEntry[]): Promise<boolean> {
    // An attempt whose outcome was unknown may have been committed after all.
    if (await this.#isInLog(batch)) return this.#committed(batch);
    const ours = await this.#options.recheck(fences(batch).map(({ partition }) => partition));
    const kept = batch.filter(({ lane }) => ours.has(lane.partition));
    for (const [lane, entries] of byLane(batch)) {
      if (!ours.has(lane.partition)) lane.rolledBack(entries, 'fenced');
    }
    if (kept.length === batch.length) {
      // The epoch moved although the partition is ours again: these lanes hold the old epoch.
      for (const [lane, entries] of byLane(kept)) lane.rolledBack(entries, 'fenced');
      return false;
    }
    return kept.length > 0 && (await this.#commit(kept));
  }

  /** One row must not keep the others of the batch from being committed: each lane, then each row. */
  async #refused(batch: readonly CommitEntry[], error: unknown): Promise<boolean> {
    const lanes = byLane(batch);
    if (lanes.size > 1) {
      for (const entries of lanes.values()) await this.#commit(entries);
      return false;
    }
    if (await this.#isInLog(batch)) return this.#committed(batch);
    if (batch.length > 1 && !(error instanceof LogConflictError)) {
      for (const entry of batch) if (!(await this.#commit([entry]))) return false;
      return true;
    }
    const reason = error instanceof LogConflictError ? 'conflict' : 'refused';
    if (reason === 'refused') this.#options.log.error({ err: error }, 'Postgres refused a commit');
    for (const [lane, entries] of lanes) lane.rolledBack(entries, reason);
    return false;
  }

  /** A batch is atomic: it is in the log when its last row is, whatever came after it. */
  async #isInLog(batch: readonly CommitEntry[]): Promise<boolean> {
    const last = batch.at(-1);
    if (last === undefined) return true;
    for (let attempt = 0; !this.#stop.signal.aborted; attempt += 1) {
      try {
        const { lane, contextKey, row } = last;
        const sequence = sequenceOf(row);
        const range = { from: sequence, to: sequence, limit: 1 };
        const { database } = this.#options;
        const log = ownLog(contextKey, lane.contextId);
        const [logged] = await readTransactions(database, log, range);
        return logged !== undefined && Buffer.compare(logged.seal, sealOf(row)) === 0;
      } catch (error) {
        if (!isTransient(error)) throw error;
        await backoff(attempt, this.#stop.signal);
      }
    }
    return false;
  }
}

function byLane(batch: readonly CommitEntry[]): Map<CommitLane, CommitEntry[]> {
  const lanes = new Map<CommitLane, CommitEntry[]>();
  for (const entry of batch) {
    const entries = lanes.get(entry.lane);
    if (entries === undefined) lanes.set(entry.lane, [entry]);
    else entries.push(entry);
  }
  return lanes;
}

function fences(batch: readonly CommitEntry[]): { partition: number; epoch: bigint }[] {
  const epochs = new Map<number, bigint>();
  for (const { lane } of batch) epochs.set(lane.partition, lane.epoch);
  return [...epochs].map(([partition, epoch]) => ({ partition, epoch }));
}
