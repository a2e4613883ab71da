const ENTRIES_MAX = 10_000;

/**
 * Answers to recent request ids of one context, including those still under way, so that a
 * repeated request gets the first one's answer. The unique index of the log is the guard behind it.
 */
export class RequestIndex<Reply> {
  readonly #replies = new Map<string, Promise<Reply>>();
  #isComplete = false;

  /** True when an id that is not here is not in the log either. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  get(requestId: string): Promise<Reply> | undefined {
    return this.#replies.get(requestId);
  }

  /** Remembers an answer; a failed one is forgotten so that the caller may try again. */
  add(requestId: string, reply: Promise<Reply>): void {
    this.#replies.set(requestId, reply);
    reply.catch(() => this.#replies.delete(requestId));
    if (this.#replies.size <= ENTRIES_MAX) return;
    const oldest = this.#replies.keys().next();
    if (!oldest.done) this.#replies.delete(oldest.value);
    this.#isComplete = false;
  }

  /** Adds what the log's tail holds; `isComplete` when the tail is the whole log. */
  fill(recent: ReadonlyMap<string, Reply>, isComplete: boolean): void {
    for (const [requestId, reply] of recent) {
      if (!this.#replies.has(requestId)) this.#replies.set(requestId, Promise.resolve(reply));
    }
    this.#isComplete = isComplete && this.#replies.size <= ENTRIES_MAX;
  }
}
