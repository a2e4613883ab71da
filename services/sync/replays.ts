import { AppError } from '#shared/domain/app-error.ts';
import { Gate } from '#shared/util/gate.ts';
import type { ReplayResult } from './replay/messages.ts';
import {
  type ReplayRun,
  ReplayThreads,
  type ReplayThreadsOptions,
} from './replay/replay-threads.ts';

/** Whoever asked goes before the audit, which gives way in the middle of a log. */
export class Replays implements AsyncDisposable {
  readonly #threads: ReplayThreads;
  readonly #turns = new Gate(1);
  /** Asked for, under way and waiting. */
  #asked = 0;
  #yielding = new AbortController();

  constructor(options: ReplayThreadsOptions) {
    this.#threads = new ReplayThreads(options);
  }

  /** Runs what somebody waits for, one after the other. Throws the AppErrors of a replay. */
  async runFirst(run: ReplayRun & { readonly onStart: () => void }): Promise<ReplayResult> {
    this.#asked += 1;
    this.#yielding.abort();
    try {
      return await this.#turns.run(async () => {
        run.signal.throwIfAborted();
        run.onStart();
        return await this.#threads.run(run);
      });
    } finally {
      this.#asked -= 1;
      // The threads take memory, and nobody needs them now.
      await this.release();
    }
  }

  /** Runs what nobody waits for. Throws AppError `unavailable` as soon as somebody asks. */
  async runLast(run: ReplayRun): Promise<ReplayResult> {
    return await this.#turns.run(async () => {
      if (this.#asked > 0) throw new AppError('unavailable', 'somebody asked for a replay');
      this.#yielding = new AbortController();
      const signal = AbortSignal.any([run.signal, this.#yielding.signal]);
      return await this.#threads.run({ ...run, signal });
    });
  }

  /** Ends the threads unless somebody asked for a replay; the next one starts them again. */
  async release(): Promise<void> {
    await this.#turns.run(async () => {
      if (this.#asked === 0) await this.#threads[Symbol.asyncDispose]();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#threads[Symbol.asyncDispose]();
  }
}
