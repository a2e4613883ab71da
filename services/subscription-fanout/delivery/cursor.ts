import { backoff } from '#shared/util/backoff.ts';
import type { ContextFeed } from './context-feed.ts';
import type { LogEntry } from './frame-ring.ts';

/** Where entries go. */
export interface Outlet {
  /** False when nothing may be written now; the outlet then calls `pump` when it may again. */
  isWritable(): boolean;
  write(entry: LogEntry): void;
}

/**
 * One subscriber's position in one context: a number, not a queue.
 *
 * | phase    | next entry comes from                                                 |
 * | -------- | --------------------------------------------------------------------- |
 * | backfill | the log, page by page, while the ring no longer holds it              |
 * | cutover  | the feed's ring, as soon as it holds the next entry                   |
 * | live     | the feed's ring, at each new entry                                    |
 *
 * Only the entry at `next` is ever written, so the phases need no reconciling and a lagging
 * subscriber simply falls back to an earlier phase.
 */
export class Cursor {
  readonly #feed: ContextFeed;
  readonly #outlet: Outlet;
  readonly #closed = new AbortController();
  readonly #onEntry = () => this.pump();
  #next: bigint;
  #page: readonly LogEntry[] = [];
  #isReading = false;

  constructor(feed: ContextFeed, outlet: Outlet, next: bigint) {
    this.#feed = feed;
    this.#outlet = outlet;
    this.#next = next;
    feed.onEntry(this.#onEntry);
  }

  /** Writes what is due, as far as the outlet takes it. */
  pump(): void {
    while (!this.#isReading && !this.#closed.signal.aborted && this.#next <= this.#feed.head) {
      if (!this.#outlet.isWritable()) {
        this.#page = [];
        return;
      }
      const entry = this.#feed.recent(this.#next) ?? this.#fromPage();
      if (entry === undefined) {
        this.#isReading = true;
        void this.#readPage();
        return;
      }
      this.#next += 1n;
      this.#outlet.write(entry);
    }
    if (this.#next > this.#feed.head) this.#page = [];
  }

  close(): void {
    this.#closed.abort();
    this.#page = [];
    this.#feed.offEntry(this.#onEntry);
  }

  #fromPage(): LogEntry | undefined {
    const first = this.#page[0];
    return first === undefined ? undefined : this.#page[Number(this.#next - first.sequence)];
  }

  async #readPage(): Promise<void> {
    const { signal } = this.#closed;
    for (let attempt = 0; !signal.aborted; attempt += 1) {
      const page = await this.#feed.page(this.#next).catch(() => []);
      if (page[0]?.sequence === this.#next) {
        this.#page = page;
        break;
      }
      await backoff(attempt, signal);
    }
    this.#isReading = false;
    this.pump();
  }
}
