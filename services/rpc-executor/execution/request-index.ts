import { sha256 } from '#shared/crypto/sha256.ts';
import { AppError } from '#shared/domain/app-error.ts';

/** An answer, and what it was the answer to. */
export interface IndexedRequest<Reply> {
  /** Of `fingerprintOf`. */
  readonly fingerprint: string;
  readonly reply: Promise<Reply>;
  readonly bytes: number;
}

const ENTRIES_MAX = 10_000;
const BYTES_MAX = 4_194_304;

/** Tells calls apart that carry the same request id: `payloadHash` is SHA-256 of the arguments. */
export function fingerprintOf(call: {
  readonly kind: string;
  readonly method: string;
  readonly payloadHash: Uint8Array;
}): string {
  return `${call.kind} ${Buffer.from(call.payloadHash).toString('base64')} ${call.method}`;
}

export function fingerprintOfCall(call: {
  readonly kind: string;
  readonly method: string;
  readonly payload: Uint8Array;
}): string {
  return fingerprintOf({ ...call, payloadHash: sha256(call.payload) });
}

/** Throws AppError `conflict` when a request id was used for another call. */
export function demandSame(fingerprint: string, known: string): void {
  if (fingerprint === known) return;
  throw new AppError('conflict', 'the requestId was used for another call');
}

/**
 * Answers to recent request ids of one context, including those still under way, so that a
 * repeated request gets the first one's answer. The unique index of the log is the guard behind it.
 */
export class RequestIndex<Reply> {
  readonly #requests = new Map<string, IndexedRequest<Reply>>();
  #bytes = 0;
  #isComplete = false;

  /** True when an id that is not here is not in the log either. */
  get isComplete(): boolean {
    return this.#isComplete;
  }

  get(requestId: string): IndexedRequest<Reply> | undefined {
    return this.#requests.get(requestId);
  }

  /** Remembers a request under way; a failed one is forgotten so that the caller may try again. */
  add(requestId: string, request: Omit<IndexedRequest<Reply>, 'bytes'>): void {
    this.#set(requestId, { ...request, bytes: 0 });
    request.reply.catch(() => this.#delete(requestId));
    this.#forget();
  }

  /** The request got an answer of so many bytes. */
  resize(requestId: string, bytes: number): void {
    const request = this.#requests.get(requestId);
    if (request === undefined) return;
    this.#set(requestId, { ...request, bytes });
    this.#forget();
  }

  /** Adds what the log's tail holds; `isComplete` when nothing else in the log has a request id. */
  fill(
    recent: ReadonlyMap<string, Omit<IndexedRequest<Reply>, 'reply'> & { readonly reply: Reply }>,
    isComplete: boolean,
  ): void {
    this.#isComplete = isComplete;
    for (const [requestId, { fingerprint, reply, bytes }] of recent) {
      if (this.#requests.has(requestId)) continue;
      this.#set(requestId, { fingerprint, reply: Promise.resolve(reply), bytes });
    }
    this.#forget();
  }

  #set(requestId: string, request: IndexedRequest<Reply>): void {
    this.#bytes += request.bytes - (this.#requests.get(requestId)?.bytes ?? 0);
    this.#requests.set(requestId, request);
  }

  #delete(requestId: string): void {
    this.#bytes -= this.#requests.get(requestId)?.bytes ?? 0;
    this.#requests.delete(requestId);
  }

  /** Drops the oldest above the bounds: the log still knows them. */
  #forget(): void {
    for (const requestId of this.#requests.keys()) {
      if (this.#requests.size <= ENTRIES_MAX && this.#bytes <= BYTES_MAX) return;
      this.#delete(requestId);
      this.#isComplete = false;
    }
  }
}
