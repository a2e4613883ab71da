import { Assembler } from './assembler.ts';
import type { RequestHandler } from './bus.ts';
import { Lateness } from './lateness.ts';
import type { Link } from './link.ts';
import { encodeRefusal } from './refusal.ts';
import { type EntryKind, readMessage, writeMessages } from './request-batch.ts';

interface Answer {
  readonly id: number;
  readonly kind: EntryKind;
  readonly waitMs: number;
  readonly payload: Uint8Array;
}

const SENDERS_MAX = 10_000;

/**
 * Answers what a `Requester` asks: all that is ready for one of them at the end of a tick travels
 * in one message. A request that arrives after its deadline is dropped, not run.
 */
export class Responder {
  readonly #link: Link;
  readonly #requests = new Assembler();
  readonly #senders = new Map<string, Lateness>();
  #ready = new Map<string, Answer[]>();

  constructor(link: Link) {
    this.#link = link;
  }

  /** `reply` is where the answers go, as the requester gave it. */
  receive(message: Uint8Array, reply: string, handler: RequestHandler): void {
    const inbox = inboxOf(reply);
    const nowMs = performance.now();
    const { sentAtMs, entries } = readMessage(message);
    const lateMs = this.#lateness(inbox, sentAtMs, nowMs).of(sentAtMs, nowMs);
    for (const { id, kind, part, waitMs, payload } of entries) {
      const leftMs = waitMs - lateMs;
      if (kind !== 'request' || leftMs <= 0) continue;
      const times = { untilMs: nowMs + leftMs, nowMs };
      const request = this.#requests.add(`${inbox} ${id}`, payload, part, times);
      if (request !== null) void this.#answer(inbox, id, handler(request));
    }
  }

  /** Sends what is ready. */
  flush(): void {
    const ready = this.#ready;
    this.#ready = new Map();
    const bytesMax = this.#link.payloadBytesMax();
    for (const [inbox, answers] of ready) {
      writeMessages(answers, { bytesMax, sentAtMs: performance.now() }, (message) => {
        this.#link.publish(`${inbox}.answers`, message, null);
      });
    }
  }

  async #answer(inbox: string, id: number, answering: Promise<Uint8Array>): Promise<void> {
    try {
      this.#push(inbox, { id, kind: 'answer', waitMs: 0, payload: await answering });
    } catch (error) {
      this.#push(inbox, { id, kind: 'refusal', waitMs: 0, payload: encodeRefusal(error) });
    }
  }

  #push(inbox: string, answer: Answer): void {
    if (this.#ready.size === 0) setImmediate(() => this.flush());
    const ready = this.#ready.get(inbox);
    if (ready === undefined) this.#ready.set(inbox, [answer]);
    else ready.push(answer);
  }

  #lateness(inbox: string, sentAtMs: number, nowMs: number): Lateness {
    const known = this.#senders.get(inbox);
    if (known !== undefined) return known;
    if (this.#senders.size >= SENDERS_MAX) this.#senders.clear();
    const lateness = new Lateness(sentAtMs, nowMs);
    this.#senders.set(inbox, lateness);
    return lateness;
  }
}

/** Without the two words that name the requests of a message. */
function inboxOf(reply: string): string {
  return reply.split('.').slice(0, -2).join('.');
}
