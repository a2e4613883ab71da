import { AppError } from '#shared/domain/app-error.ts';

/** What tells calls apart that carry the same request id. */
export interface Call {
  readonly kind: string;
  readonly method: string;
  readonly payload: Uint8Array;
}

/** A request under way, or one that was answered and left nothing in the log. */
export interface IndexedRequest<Reply> {
  readonly call: Call;
  readonly reply: Promise<Reply>;
}

/** The log holds the request, and its answer. */
const LOGGED = 'logged';
const ENTRIES_MAX = 10_000;
const BYTES_MAX = 4_194_304;
/** What an entry takes, about, besides its answer. */
const ENTRY_BYTES = 128;

/** Throws AppError `conflict` when a request id was used for another call. */
export function demandSame(call: Call, known: Call): void {
  const isSame =
    call.kind === known.kind &&
    call.method === known.method &&
    Buffer.compare(call.payload, known.payload) === 0;
  if (!isSame) throw new AppError('conflict', 'the requestId was used for another call');
}

/**
 * The recent request ids of one context, so that a repeated request gets the first one's answer.
 * The unique index of the log is the guard behind it. There are two generations: when the younger
 * is full, the elder is forgotten.
 */
export class RequestIndex<Reply> {
  #young = new Map<string, IndexedRequest<Reply> | typeof LOGGED>();
  #old = new Map<string, IndexedRequest<Reply> | typeof LOGGED>();
  /** Of the answers in the younger generation that only this index knows. */
  #bytes = 0;
  #isComplete = false;

  /** True when an id that is not here is not in the log either. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  /** Bytes that the index takes, about. */
  get bytes(): number {
    return (this.#young.size + this.#old.size) * ENTRY_BYTES;
  }

  get(requestId: string): IndexedRequest<Reply> | typeof LOGGED | undefined {
    return this.#young.get(requestId) ?? this.#old.get(requestId);
  }

  /** A request is under way. */
  add(requestId: string, request: IndexedRequest<Reply>): void {
    this.#young.set(requestId, request);
    this.#forget();
  }

  /** The request is in the log now. */
  logged(requestId: string): void {
    this.#mapOf(requestId).set(requestId, LOGGED);
  }

  /** The request was answered by so many bytes, and is not in the log: its answer stays here. */
  answered(bytes: number): void {
    this.#bytes += bytes;
    this.#forget();
  }

  /** The request failed: its caller may try again. */
  failed(requestId: string): void {
    this.#mapOf(requestId).delete(requestId);
  }

  /** Adds what the log's tail holds; `isComplete` when no other id is in the log. */
  load(requestIds: readonly string[], isComplete: boolean): void {
    this.#isComplete = isComplete;
    for (const requestId of requestIds) {
      if (this.get(requestId) === undefined) this.#young.set(requestId, LOGGED);
    }
    this.#forget();
  }

  #mapOf(requestId: string): Map<string, IndexedRequest<Reply> | typeof LOGGED> {
    return this.#young.has(requestId) ? this.#young : this.#old;
  }

  #forget(): void {
    if (this.#young.size < ENTRIES_MAX / 2 && this.#bytes < BYTES_MAX / 2) return;
    if (this.#old.size > 0) this.#isComplete = false;
    this.#old = this.#young;
    this.#young = new Map();
    this.#bytes = 0;
  }
}
