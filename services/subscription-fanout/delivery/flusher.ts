/** Something that has news for its listeners. */
export interface Deliverer {
  deliver(): void;
}

/**
 * Lets everything that moved within one turn of the event loop deliver at its end, so that all that
 * came meanwhile goes out in one write: the busier it is, the more a write carries.
 */
export class Flusher {
  #due = new Set<Deliverer>();

  schedule(deliverer: Deliverer): void {
    if (this.#due.size === 0) setImmediate(() => this.#flush());
    this.#due.add(deliverer);
  }

  #flush(): void {
    const due = this.#due;
    this.#due = new Set();
    for (const deliverer of due) deliverer.deliver();
  }
}
