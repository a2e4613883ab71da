import { type ContextId, type TransactionHash, ZERO_ID } from '#shared/domain/ids.ts';
import { isWholeNotice, type LogNotice, type LogPosition } from '#shared/protocol/log-notice.ts';
import { backoff } from '#shared/util/backoff.ts';
import type { Deliverer } from './flusher.ts';
import { type FrameFormat, FrameView } from './frame-view.ts';
import { type ContextLog, READ_BYTES_MAX } from './log-reader.ts';
import { NoticeRing } from './notice-ring.ts';

const PAGE_ROWS = 256;
const PENDING_MAX = 256;

export interface ContextFeedOptions {
  readonly contextId: ContextId;
  readonly log: ContextLog;
  /** Called after something was added, before it is delivered. */
  readonly onMove: (feed: Deliverer) => void;
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
export class ContextFeed implements Deliverer {
  /** Settles once the head is known; pending while the log cannot be read. */
  readonly ready: Promise<void>;
  readonly #options: ContextFeedOptions;
  readonly #ring: NoticeRing;
  readonly #pending = new Map<bigint, LogNotice>();
  readonly #views = new Map<string, FrameView>();
  readonly #pages = new Map<bigint, Promise<readonly LogNotice[]>>();
  readonly #closed = new AbortController();
  #head: bigint | null = null;
  /** Highest sequence that the log is known to hold. */
  #wanted = 0n;
  #healing: Promise<void> | null = null;
  #reaching: Promise<void> | null = null;

  constructor(options: ContextFeedOptions) {
    this.#options = options;
    this.#ring = new NoticeRing(options.ringMax, options.ringBytesMax);
    this.ready = this.#open();
  }

  get contextId(): ContextId {
    return this.#options.contextId;
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

  /** The transaction at a sequence, while the ring still holds it. */
  recent(sequence: bigint): LogNotice | undefined {
    return this.#ring.at(sequence);
  }

  /**
   * Fills the ring from the log, once, when `from` is behind it but not further than it reaches: of
   * all who come back after a cut, the first pays for everybody.
   */
  async reach(from: bigint): Promise<void> {
    const { ringMax } = this.#options;
    if (this.#ring.at(from) !== undefined || from <= this.head - BigInt(ringMax)) return;
    this.#reaching ??= this.#fillRing();
    await this.#reaching;
  }

  /** Transactions from the log, that at `from` among them; who asks for the same shares a read. */
  async page(from: bigint): Promise<readonly LogNotice[]> {
    const aligned = from - ((from - 1n) % BigInt(PAGE_ROWS));
    const page = await this.#pageAt(aligned);
    const last = page.at(-1);
    return last !== undefined && last.sequence >= from ? page : await this.#pageAt(from);
  }

  /** The hash that stands at a sequence; null when the log does not hold it. */
  async hashAt(sequence: bigint): Promise<TransactionHash | null> {
    if (sequence === 0n) return ZERO_ID as TransactionHash;
    await this.reach(sequence);
    const notice =
      this.recent(sequence) ??
      (await this.page(sequence)).find((notice) => notice.sequence === sequence);
    return notice?.hash ?? null;
  }

  /** The transactions in a format; all who ask for the same format share it. */
  view(format: FrameFormat): FrameView {
    const known = this.#views.get(format.key);
    if (known !== undefined) return known;
    const view = new FrameView(this, format);
    this.#views.set(format.key, view);
    return view;
  }

  dropView(key: string): void {
    this.#views.delete(key);
  }

  deliver(): void {
    for (const view of this.#views.values()) view.deliver();
  }

  get signal(): AbortSignal {
    return this.#closed.signal;
  }

  close(): void {
    this.#closed.abort();
    this.#pending.clear();
    this.#views.clear();
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
      const isProgress = rows.length > 0 && this.#wanted > this.head;
      if (isProgress || isCutOff(rows)) continue;
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

  #pageAt(from: bigint): Promise<readonly LogNotice[]> {
    const known = this.#pages.get(from);
    if (known !== undefined) return known;
    const page = this.#options.log.read(from, PAGE_ROWS).finally(() => this.#pages.delete(from));
    this.#pages.set(from, page);
    return page;
  }

  async #fillRing(): Promise<void> {
    const { log, ringMax } = this.#options;
    const first = this.head - BigInt(ringMax) + 1n;
    try {
      this.#ring.prepend(await log.read(first > 1n ? first : 1n, ringMax), this.head);
    } catch (error) {
      this.#reaching = null;
      throw error;
    }
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
    this.#ring.push(notice);
    this.#head = notice.sequence;
    if (notice.sequence > this.#wanted) this.#wanted = notice.sequence;
    this.#options.onMove(this);
  }
}

/** True for a page that ended before the log did. */
function isCutOff(rows: readonly LogNotice[]): boolean {
  const bytes = rows
    .flatMap(({ events }) => events)
    .reduce((sum, { kind, data }) => sum + kind.length + data.length, 0);
  return rows.length === PAGE_ROWS || bytes >= READ_BYTES_MAX / 2;
}
