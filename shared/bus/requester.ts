import { AppError } from '#shared/domain/app-error.ts';
import { Assembler } from './assembler.ts';
import type { Link } from './link.ts';
import { decodeRefusal } from './refusal.ts';
import { readMessage, writeMessages } from './request-batch.ts';

interface Asked {
  /** 0 until it is sent. */
  id: number;
  readonly untilMs: number;
  readonly timer: NodeJS.Timeout;
  /** Null once it is over: an outgrown table of a Map may hold on to this for long. */
  open: {
    readonly payload: Uint8Array;
    readonly resolve: (answer: Uint8Array) => void;
    readonly reject: (error: AppError) => void;
  } | null;
}

const ID_MAX = 0x7fff_fffe;

/**
 * Asks over the bus: all that is asked of a subject in one tick travels in one message, and all
 * answers come by one subscription. The subject that answers go to names the requests of the
 * message, `<inbox>.<first id>.<count>`, so that the server's word that nobody listens tells which.
 */
export class Requester {
  readonly #link: Link;
  readonly #inbox: string;
  readonly #underWay = new Map<number, Asked>();
  readonly #answers = new Assembler();
  #queued = new Map<string, Asked[]>();
  #lastId = 0;

  /** `inbox`: a subject that nobody else has; its owner brings what arrives below it to `receive`. */
  constructor(link: Link, inbox: string) {
    this.#link = link;
    this.#inbox = inbox;
  }

  /** Rejects with AppError `timeout`, `unavailable`, or what the other side threw. */
  request(subject: string, payload: Uint8Array, waitMs: number): Promise<Uint8Array> {
    if (waitMs <= 0) return Promise.reject(new AppError('timeout', 'the deadline passed'));
    return new Promise((resolve, reject) => {
      const untilMs = performance.now() + waitMs;
      const timer = setTimeout(() => {
        const reason = 'no answer over the bus within the deadline, the outcome is unknown';
        this.#end(asked)?.reject(new AppError('timeout', reason));
      }, waitMs);
      const asked: Asked = { id: 0, untilMs, timer, open: { payload, resolve, reject } };
      if (this.#queued.size === 0) setImmediate(() => this.flush());
      const queued = this.#queued.get(subject);
      if (queued === undefined) this.#queued.set(subject, [asked]);
      else queued.push(asked);
    });
  }

  /** Sends what was asked since the last time. */
  flush(): void {
    const queued = this.#queued;
    this.#queued = new Map();
    for (const [subject, requests] of queued) {
      if (this.#link.isConnected()) this.#send(subject, requests);
      else for (const asked of requests) this.#undelivered(asked, 'the bus is not connected');
    }
  }

  /** A message below the inbox; `isNobody` is the server's word that nobody listens. */
  receive(subject: string, message: Uint8Array, isNobody: boolean): void {
    if (isNobody) return this.#refuse(subject);
    const nowMs = performance.now();
    for (const { id, kind, part, payload } of readMessage(message).entries) {
      const asked = this.#underWay.get(id);
      if (asked === undefined || kind === 'request') continue;
      const times = { untilMs: asked.untilMs, nowMs };
      const answer = this.#answers.add(String(id), payload, part, times);
      if (answer === null) continue;
      const ended = this.#end(asked);
      if (kind === 'answer') ended?.resolve(answer);
      else ended?.reject(decodeRefusal(answer));
    }
  }

  #send(subject: string, requests: readonly Asked[]): void {
    const sentAtMs = performance.now();
    const entries = requests.flatMap((asked) => {
      if (asked.open === null) return [];
      asked.id = this.#takeId();
      this.#underWay.set(asked.id, asked);
      const { id, untilMs } = asked;
      const { payload } = asked.open;
      return { id, kind: 'request', waitMs: untilMs - sentAtMs, payload } as const;
    });
    const bytesMax = this.#link.payloadBytesMax();
    writeMessages(entries, { bytesMax, sentAtMs }, (message, first, count) => {
      this.#link.publish(subject, message, `${this.#inbox}.${entries[first]?.id ?? 0}.${count}`);
    });
  }

  #takeId(): number {
    this.#lastId = idAfter(this.#lastId, 1);
    return this.#lastId;
  }

  #refuse(subject: string): void {
    const [first = 0, count = 0] = subject
      .slice(this.#inbox.length + 1)
      .split('.')
      .map(Number);
    for (let i = 0; i < count; i += 1) {
      const asked = this.#underWay.get(idAfter(first, i));
      if (asked !== undefined) this.#undelivered(asked, 'nobody is listening');
    }
  }

  /** Callers may try again: nothing was done. */
  #undelivered(asked: Asked, reason: string): void {
    this.#end(asked)?.reject(new AppError('unavailable', reason));
  }

  /** Null when it was over before. */
  #end(asked: Asked): Asked['open'] {
    const { open } = asked;
    if (open === null) return null;
    asked.open = null;
    clearTimeout(asked.timer);
    this.#underWay.delete(asked.id);
    this.#answers.drop(String(asked.id));
    return open;
  }
}

function idAfter(id: number, steps: number): number {
  return ((id - 1 + steps) % ID_MAX) + 1;
}
