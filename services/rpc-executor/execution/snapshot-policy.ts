/** So many bytes of diffs are worth a snapshot, however few they are. */
const BYTES_MAX = 16_777_216;

/** Tells when a snapshot pays: after much was written, measured against the size of the state. */
export class SnapshotPolicy {
  readonly #every: number;
  #transactions = 0;
  #bytes = 0;

  /** A snapshot may be due after so many transactions. */
  constructor(every: number) {
    this.#every = every;
  }

  /** A transaction wrote so many bytes. */
  add(changedBytes: number): void {
    this.#transactions += 1;
    this.#bytes += changedBytes;
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
