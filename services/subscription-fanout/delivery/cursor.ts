import { backoff } from '#shared/util/backoff.ts';
import type { Batch, FrameView } from './frame-view.ts';

/** Where batches go. */
export interface Outlet {
  /** False when nothing may be written now; the outlet then calls `pump` when it may again. */
  isWritable(): boolean;
  write(batch: Batch): void;
}

/**
 * One subscriber's position in one context: a number, not a queue.
 *
 * | phase    | what is next comes from                                               |
 * | -------- | --------------------------------------------------------------------- |
 * | backfill | the log, page by page, while the feed's ring does not hold it         |
 * | cutover  | the ring, as soon as it holds the next transaction                    |
 * | live     | the ring, whenever the feed moved                                     |
 *
 * Only what begins at `next` is ever written, so the phases need no reconciling and a lagging
 * subscriber simply falls back to an earlier phase.
 */
export class Cursor {
  readonly #view: FrameView;
  readonly #outlet: Outlet;
  #next: bigint;
  #isReading = false;
  #isClosed = false;

  constructor(view: FrameView, outlet: Outlet, next: bigint) {
    this.#view = view;
    this.#outlet = outlet;
    this.#next = next;
    view.add(this);
  }

  /** Sequence of the last transaction that was written. */
  get position(): bigint {
    return this.#next - 1n;
  }

  /** Writes what is due, as far as the outlet takes it. */
  pump(): void {
    while (!this.#isReading && !this.#isClosed && this.#next <= this.#view.head) {
      if (!this.#outlet.isWritable()) return;
      const batch = this.#view.at(this.#next);
      if (batch === undefined) {
        this.#isReading = true;
        void this.#read();
      } else this.#write(batch);
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#view.remove(this);
  }

  #write(batch: Batch): void {
    this.#next = batch.next;
    this.#outlet.write(batch);
  }

  async #read(): Promise<void> {
    for (let attempt = 0; !this.#isClosed && !this.#view.signal.aborted; attempt += 1) {
      const batch = await this.#view.read(this.#next).catch(() => undefined);
      if (batch !== undefined) {
        // What was read is written now or dropped: it may be gone from memory later.
        if (!this.#isClosed && this.#outlet.isWritable()) this.#write(batch);
        break;
      }
      await backoff(attempt, this.#view.signal);
    }
    this.#isReading = false;
    this.pump();
  }
}
