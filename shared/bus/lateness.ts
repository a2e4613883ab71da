const WINDOW_MS = 60_000;

/**
 * How long messages of one sender were on their way, told from the sender's monotonic clock and
 * our own. Their zeros differ, so the fastest message of the last minute or two stands for no delay:
 * that holds when a wall clock is set, and tells what waited while this process was stopped.
 */
export class Lateness {
  #windowEndMs: number;
  #best: number;
  #bestBefore: number;

  /** The first message counts as on time. */
  constructor(sentAtMs: number, nowMs: number) {
    this.#windowEndMs = nowMs + WINDOW_MS;
    this.#best = nowMs - sentAtMs;
    this.#bestBefore = this.#best;
  }

  /** Milliseconds that a message which arrives now was late. */
  of(sentAtMs: number, nowMs: number): number {
    const way = nowMs - sentAtMs;
    if (nowMs > this.#windowEndMs) {
      this.#windowEndMs = nowMs + WINDOW_MS;
      this.#bestBefore = this.#best;
      this.#best = way;
    }
    this.#best = Math.min(this.#best, way);
    return way - Math.min(this.#best, this.#bestBefore);
  }
}
