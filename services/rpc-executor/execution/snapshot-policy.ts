import type { Transaction } from '#shared/domain/transaction.ts';

/** So many bytes of diffs are worth a snapshot, however few they are. */
const BYTES_MAX = 16_777_216;
const KEY_BYTES = 32;

/** Tells when a snapshot pays: after much was written, measured against the size of the state. */
export class SnapshotPolicy {
  readonly #every: number;
  #transactions = 0;
  #bytes = 0;

  /** A snapshot may be due after so many transactions. */
  constructor(every: number) {
    this.#every = every;
  }

  add({ changes }: Transaction): void {
    this.#transactions += 1;
    for (const { value } of changes) this.#bytes += KEY_BYTES + (value?.length ?? 0);
  }

  isDue(stateBytes: number): boolean {
    const isMuch = this.#transactions >= this.#every || this.#bytes >= BYTES_MAX;
    return isMuch && this.#bytes * 2 >= stateBytes;
  }

  reset(): void {
    this.#transactions = 0;
    this.#bytes = 0;
  }
}
