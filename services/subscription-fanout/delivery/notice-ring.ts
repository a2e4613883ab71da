import type { LogNotice } from '#shared/protocol/log-notice.ts';

/** What an entry takes beside its data, about. */
const ENTRY_BYTES = 256;

/** The most recent transactions of a context without a gap, bounded in number and in bytes. */
export class NoticeRing {
  readonly #entriesMax: number;
  readonly #bytesMax: number;
  readonly #entries = new Map<bigint, LogNotice>();
  #first = 0n;
  #bytes = 0;

  constructor(entriesMax: number, bytesMax: number) {
    this.#entriesMax = entriesMax;
    this.#bytesMax = bytesMax;
  }

  /** Adds the entry after the last one; the newest entry is always kept. */
  push(notice: LogNotice): void {
    if (this.#entries.size === 0) this.#first = notice.sequence;
    this.#entries.set(notice.sequence, notice);
    this.#bytes += sizeOf(notice);
    while (this.#entries.size > 1 && this.#isOver()) this.#dropFirst();
  }

  /**
   * Adds what stands before the first entry, or in an empty ring before `head + 1`. Ignored where
   * that would leave a gap; the oldest are left out where there is no room for them.
   */
  prepend(notices: readonly LogNotice[], head: bigint): void {
    let before = (this.#entries.size === 0 ? head + 1n : this.#first) - 1n;
    for (const notice of notices.toReversed()) {
      if (notice.sequence > before) continue;
      if (notice.sequence !== before) return;
      this.#entries.set(notice.sequence, notice);
      this.#bytes += sizeOf(notice);
      this.#first = notice.sequence;
      if (this.#isOver() && this.#entries.size > 1) return this.#dropFirst();
      before -= 1n;
    }
  }

  at(sequence: bigint): LogNotice | undefined {
    return this.#entries.get(sequence);
  }

  #isOver(): boolean {
    return this.#entries.size > this.#entriesMax || this.#bytes > this.#bytesMax;
  }

  #dropFirst(): void {
    const first = this.#entries.get(this.#first);
    if (first !== undefined) this.#bytes -= sizeOf(first);
    this.#entries.delete(this.#first);
    this.#first += 1n;
  }
}

function sizeOf({ events }: LogNotice): number {
  return events.reduce((sum, { kind, data }) => sum + kind.length + data.length, ENTRY_BYTES);
}
