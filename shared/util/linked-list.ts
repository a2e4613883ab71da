/** A value's place in a list. */
export interface Place<T> {
  readonly value: T;
  before: Place<T> | null;
  after: Place<T> | null;
}

/**
 * Values in the order in which they were added, each removed at once wherever it stands. For what
 * comes and goes with every request: a Set leaves an outgrown table behind now and then, which
 * points to the next one, so that a table which the garbage collector has once taken for old keeps
 * all later ones alive, and every request that was under way when they were outgrown.
 */
export class LinkedList<T> {
  #first: Place<T> | null = null;
  #last: Place<T> | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#first?.value;
  }

  add(value: T): Place<T> {
    const place: Place<T> = { value, before: this.#last, after: null };
    if (this.#last === null) this.#first = place;
    else this.#last.after = place;
    this.#last = place;
    this.#size += 1;
    return place;
  }

  /** The place must be of this list, and be removed once. */
  remove(place: Place<T>): void {
    const { before, after } = place;
    if (before === null) this.#first = after;
    else before.after = after;
    if (after === null) this.#last = before;
    else after.before = before;
    // What was removed must not keep its neighbours alive.
    place.before = null;
    place.after = null;
    this.#size -= 1;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (let place = this.#first; place !== null; ) {
      const next: Place<T> | null = place.after;
      yield place.value;
      place = next;
    }
  }
}
