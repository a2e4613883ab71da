import type { TransactionHash } from '#shared/domain/ids.ts';

/** One transaction, encoded as the bytes that go to every socket. */
export interface LogEntry {
  readonly sequence: bigint;
  readonly hash: TransactionHash;
  /** Zero or more whole WebSocket frames. */
  readonly bytes: Buffer;
  readonly frames: number;
}

/** The most recent entries of a context without a gap, bounded in number and in bytes. */
export class FrameRing {
  readonly #entriesMax: number;
  readonly #bytesMax: number;
  readonly #entries = new Map<bigint, LogEntry>();
  #first = 0n;
  #bytes = 0;

  constructor(entriesMax: number, bytesMax: number) {
    this.#entriesMax = entriesMax;
    this.#bytesMax = bytesMax;
  }

  /** Adds the entry after the last one; the newest entry is always kept. */
  push(entry: LogEntry): void {
    if (this.#entries.size === 0) this.#first = entry.sequence;
    this.#entries.set(entry.sequence, entry);
    this.#bytes += entry.bytes.length;
    while (
      this.#entries.size > 1 &&
      (this.#entries.size > this.#entriesMax || this.#bytes > this.#bytesMax)
    ) {
      this.#bytes -= this.#entries.get(this.#first)?.bytes.length ?? 0;
      this.#entries.delete(this.#first);
      this.#first += 1n;
    }
  }

  at(sequence: bigint): LogEntry | undefined {
    return this.#entries.get(sequence);
  }
}
