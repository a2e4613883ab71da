import type { Logger } from 'pino';
import { AppError } from '#shared/domain/app-error.ts';
import type { Job, JobRequest } from '#shared/protocol/audit-api.ts';
import type { Clock } from '#shared/util/clock.ts';
import type { Random } from '#shared/util/random.ts';
import type { SyncConfig } from './config.ts';
import type { ReplayResult, ReplayTask } from './replay/messages.ts';
import type { Replays } from './replays.ts';

export interface JobsOptions {
  readonly config: SyncConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly replays: Replays;
  /** A job came to its end. */
  readonly onResult: (task: ReplayTask, result: ReplayResult) => Promise<void>;
  readonly onAdded: (job: string) => void;
  readonly onForgotten: (job: string) => void;
}

interface Record {
  readonly id: string;
  readonly task: ReplayTask;
  readonly abort: AbortController;
  state: Job['state'];
  progress: Job['progress'];
  /** On the monotonic clock; null until then. */
  startedMs: number | null;
  endedMs: number | null;
  result: ReplayResult | null;
  error: string | null;
}

const ID_BYTES = 16;
const RETRY_SECONDS = '10';

/** What was asked to be verified or rehearsed: one runs, some wait, and some that are over stay. */
export class Jobs {
  readonly #options: JobsOptions;
  readonly #records = new Map<string, Record>();

  constructor(options: JobsOptions) {
    this.#options = options;
  }

  /** Takes a task up. Throws AppError `rate_limited` when too many wait. */
  start(task: ReplayTask): Job {
    this.#forgetOld();
    const { config, random } = this.#options;
    const waiting = [...this.#records.values()].filter(({ state }) => state === 'queued').length;
    if (waiting >= config.jobsWaitingMax) {
      const text = `busy: ${waiting} verifications and rehearsals wait already`;
      throw new AppError('rate_limited', text, { retryAfter: RETRY_SECONDS });
    }
    const record: Record = {
      id: Buffer.from(random(ID_BYTES)).toString('hex'),
      task,
      abort: new AbortController(),
      state: 'queued',
      progress: null,
      startedMs: null,
      endedMs: null,
      result: null,
      error: null,
    };
    this.#records.set(record.id, record);
    this.#options.onAdded(record.id);
    void this.#run(record);
    return this.#show(record);
  }

  /** Shows a job, or stops it first. Throws AppError `not_found`, also for one of another context. */
  handle(job: string, { contextId, action }: JobRequest): Job {
    const record = this.#records.get(job);
    if (record === undefined || record.task.contextId !== contextId) {
      throw new AppError('not_found', 'no such job: it is long over, or the node was restarted');
    }
    if (action === 'abort') record.abort.abort();
    if (action === 'abort' && record.endedMs === null) this.#end(record, 'aborted');
    return this.#show(record);
  }

  stop(): void {
    for (const { abort } of this.#records.values()) abort.abort();
  }

  async #run(record: Record): Promise<void> {
    const { task, abort } = record;
    const { replays, clock, onResult, log } = this.#options;
    try {
      const result = await replays.runFirst({
        task,
        signal: abort.signal,
        onStart: () => {
          record.state = 'running';
          record.startedMs = clock.monotonicMs();
        },
        onProgress: (done, of) => {
          record.progress = { done, of };
        },
      });
      await onResult(task, result);
      record.result = result;
      this.#end(record, 'done');
    } catch (error) {
      if (abort.signal.aborted) return this.#end(record, 'aborted');
      if (!(error instanceof AppError) || error.code === 'internal') {
        log.error({ err: error, contextId: task.contextId }, 'a replay failed');
      }
      record.error = error instanceof AppError ? error.message : 'internal error';
      this.#end(record, 'failed');
    }
  }

  #end(record: Record, state: Job['state']): void {
    record.state = state;
    record.endedMs ??= this.#options.clock.monotonicMs();
  }

  #show({ id, task, state, progress, startedMs, endedMs, result, error }: Record): Job {
    const untilMs = endedMs ?? this.#options.clock.monotonicMs();
    return {
      job: id,
      contextId: task.contextId,
      kind: task.kind,
      state,
      progress,
      elapsedMs: startedMs === null ? 0 : Math.round(untilMs - startedMs),
      verification: result?.kind === 'verify' ? result.verification : null,
      rehearsal: result?.kind === 'rehearse' ? result.rehearsal : null,
      error,
    };
  }

  #forgetOld(): void {
    const { config, clock, onForgotten } = this.#options;
    const oldestMs = clock.monotonicMs() - config.jobKeptMs;
    const over = [...this.#records.values()].filter(({ endedMs }) => endedMs !== null);
    const tooMany = over.length - config.jobsKeptMax;
    for (const [i, { id, endedMs }] of over.entries()) {
      if (i >= tooMany && (endedMs ?? 0) >= oldestMs) continue;
      this.#records.delete(id);
      onForgotten(id);
    }
  }
}
