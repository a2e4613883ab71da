/** Counts what each partition has under way, and tells when that is nothing. */
export class UnderWay {
  readonly #counts = new Map<number, number>();
  readonly #waiting = new Map<number, (() => void)[]>();

  enter(partition: number): void {
    this.#counts.set(partition, (this.#counts.get(partition) ?? 0) + 1);
  }

  leave(partition: number): void {
    const count = (this.#counts.get(partition) ?? 0) - 1;
    this.#counts.set(partition, count);
    if (count > 0) return;
    for (const resolve of this.#waiting.get(partition) ?? []) resolve();
    this.#waiting.delete(partition);
  }

  /** Resolves once nothing is under way. */
  async drained(partition: number): Promise<void> {
    if ((this.#counts.get(partition) ?? 0) === 0) return;
    await new Promise<void>((resolve) => {
      this.#waiting.set(partition, [...(this.#waiting.get(partition) ?? []), resolve]);
    });
  }
}
