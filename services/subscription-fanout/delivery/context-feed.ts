import { type TransactionHash, ZERO_ID } from '#shared/domain/ids.ts';
import { isWholeNotice, type LogNotice, type LogPosition } from '#shared/protocol/log-notice.ts';
import { backoff } from '#shared/util/backoff.ts';
import { FrameRing, type LogEntry } from './frame-ring.ts';
import type { ContextLog } from './log-reader.ts';

const PAGE_ROWS = 64;
const PAGE_BYTES = 262_144;
const PENDING_MAX = 256;

export interface ContextFeedOptions {
  readonly log: ContextLog;
  readonly encode: (notice: LogNotice) => LogEntry;
  readonly ringMax: number;
  readonly ringBytesMax: number;
  readonly onHeal: () => void;
  readonly onError: (error: unknown) => void;
}

/**
 * The transactions of one context in log order, each once, whatever the bus does to the notices.
 *
 * | state    | head                          | a notice arrives                              |
 * | -------- | ----------------------------- | --------------------------------------------- |
 * | opening  | unknown, being read           | it is kept, bounded                           |
 * | live     | last sequence delivered       | next: delivered; older: dropped; later: heal  |
 * | healing  | grows as the log is read      | next: delivered; later: kept, bounded         |
 * | closed   | —                             | ignored                                       |
 *
 * Only `head + 1` is ever accepted, from either source, so neither a gap nor a duplicate passes.
 */
export class ContextFeed {
  /** Settles once the head is known; pending while the log cannot be read. */
  readonly ready: Promise<void>;
  readonly #options: ContextFeedOptions;
  readonly #ring: FrameRing;
  readonly #pending = new Map<bigint, LogNotice>();
  readonly #listeners = new Set<() => void>();
  readonly #pages = new Map<bigint, Promise<readonly LogEntry[]>>();
  readonly #closed = new AbortController();
  #head: bigint | null = null;
  /** Highest sequence that the log is known to hold. */
  #wanted = 0n;
  #healing: Promise<void> | null = null;

  constructor(options: ContextFeedOptions) {
    this.#options = options;
    this.#ring = new FrameRing(options.ringMax, options.ringBytesMax);
    this.ready = this.#open();
  }

  /** Sequence of the last entry delivered. Call it only when `ready` has settled. */
  get head(): bigint {
    return this.#head ?? 0n;
  }

  /** Takes a notice from the bus, in any order and any number of times. */
  accept(message: LogNotice | LogPosition): void {
    if (this.#closed.signal.aborted) return;
    if (this.#head !== null && message.sequence <= this.#head) return;
    if (message.sequence > this.#wanted) this.#wanted = message.sequence;
    if (isWholeNotice(message) && this.#pending.size < PENDING_MAX) {
      this.#pending.set(message.sequence, message);
    }
    if (this.#head === null) return;
    this.#takePending();
    if (this.#wanted > this.#head) void this.#heal();
  }

  /** Asks the log for whatever was missed; single-flight. Settles when it was read to its end. */
  async catchUp(): Promise<void> {
    await this.ready;
    // A read in flight may have begun before the caller's reason to ask.
    await this.#healing;
    await this.#heal();
  }

  /** The entry at a sequence, while the ring still holds it. */
  recent(sequence: bigint): LogEntry | undefined {
    return this.#ring.at(sequence);
  }

  /** Entries from the log from `from` on; those who ask for the same page share one read. */
  page(from: bigint): Promise<readonly LogEntry[]> {
    const known = this.#pages.get(from);
    if (known !== undefined) return known;
    const page = this.#options.log
      .read(from, PAGE_ROWS)
      .then((rows) => this.#encodePage(rows))
      .finally(() => this.#pages.delete(from));
    this.#pages.set(from, page);
    return page;
  }

  /** The hash that stands at a sequence; null when the log does not hold it. */
  async hashAt(sequence: bigint): Promise<TransactionHash | null> {
    if (sequence === 0n) return ZERO_ID as TransactionHash;
    const entry = this.recent(sequence) ?? (await this.page(sequence))[0];
    return entry?.sequence === sequence ? entry.hash : null;
  }

  /** Calls `listener` after each entry that was added. */
  onEntry(listener: () => void): void {
    this.#listeners.add(listener);
  }

  offEntry(listener: () => void): void {
    this.#listeners.delete(listener);
  }

  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  close(): void {
    this.#closed.abort();
    this.#pending.clear();
    this.#listeners.clear();
  }

  async #open(): Promise<void> {
    const head = await this.#insist(async () => await this.#options.log.head());
    if (head === undefined) return;
    this.#head = head;
    for (const sequence of this.#pending.keys()) {
      if (sequence <= head) this.#pending.delete(sequence);
    }
    this.#takePending();
    if (this.#wanted > this.head) void this.#heal();
  }

  #heal(): Promise<void> {
    this.#healing ??= this.#readToEnd();
    return this.#healing;
  }

  async #readToEnd(): Promise<void> {
    this.#options.onHeal();
    for (let attempt = 0; !this.signal.aborted; ) {
      const from = this.head + 1n;
      const wanted = this.#wanted;
      const rows = await this.#insist(async () => await this.#options.log.read(from, PAGE_ROWS));
      if (rows === undefined) break;
      for (const row of rows) if (row.sequence === this.head + 1n) this.#append(row);
      this.#takePending();
      if (rows.length === PAGE_ROWS) continue;
      if (this.#wanted <= this.head) break;
      // Announced before the read and not in it: only a reader behind the writer sees this.
      if (wanted > this.head) await backoff(attempt++, this.signal);
      else attempt = 0;
    }
    // In the same step as the last look at `#wanted`, or a gap seen in between would be missed.
    this.#healing = null;
  }

  /** Repeats a read until it succeeds; undefined when the feed was closed meanwhile. */
  async #insist<T>(read: () => Promise<T>): Promise<T | undefined> {
    for (let attempt = 0; !this.signal.aborted; attempt += 1) {
      try {
        const result = await read();
        return this.signal.aborted ? undefined : result;
      } catch (error) {
        this.#options.onError(error);
        await backoff(attempt, this.signal);
      }
    }
    return undefined;
  }

  /** At least one entry; no more than a lagging subscriber can afford to drop and read again. */
  #encodePage(rows: readonly LogNotice[]): readonly LogEntry[] {
    const page: LogEntry[] = [];
    let bytes = 0;
    for (const row of rows) {
      if (bytes >= PAGE_BYTES) break;
      const entry = this.#options.encode(row);
      page.push(entry);
      bytes += entry.bytes.length;
    }
    return page;
  }

  #takePending(): void {
    for (;;) {
      const notice = this.#pending.get(this.head + 1n);
      if (notice === undefined) break;
      this.#append(notice);
    }
  }

  #append(notice: LogNotice): void {
    this.#pending.delete(notice.sequence);
    this.#ring.push(this.#options.encode(notice));
    this.#head = notice.sequence;
    if (notice.sequence > this.#wanted) this.#wanted = notice.sequence;
    for (const listener of this.#listeners) listener();
  }
}
