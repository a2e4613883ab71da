import { LinkedList } from '#shared/util/linked-list.ts';
import type { Job } from './lane-job.ts';

/** Runs that may be under way in a thread for one context, once they proved to be cheap. */
const WINDOW_MAX = 256;

/**
 * The jobs of a lane in the order in which they came: those that were sent to the thread and are
 * not answered yet, then those that wait. A thread takes runs as they come, so how many may be
 * under way doubles with each cheap run, and is one again after an expensive one: no context fills
 * the queue that others share.
 */
export class JobQueue {
  readonly #waiting: Job[] = [];
  readonly #sent = new LinkedList<Job>();
  #window = 1;
  /** Jobs of stage `running`. */
  #running = 0;

  get size(): number {
    return this.#waiting.length + this.#sent.size;
  }

  /** Those that were not sent, in order. */
  get waiting(): readonly Job[] {
    return this.#waiting;
  }

  push(job: Job): void {
    this.#waiting.push(job);
  }

  /** The next job, now running; null when none waits, or as many run as may. */
  send(): Job | null {
    if (this.#running >= this.#window) return null;
    const job = this.#waiting.shift();
    if (job === undefined) return null;
    job.stage = 'running';
    job.ticket += 1;
    this.#running += 1;
    job.place = this.#sent.add(job);
    return job;
  }

  /** A job ran, and goes on to be committed or held. */
  ran(wasHeavy: boolean): void {
    this.#running -= 1;
    this.#window = wasHeavy ? 1 : Math.min(this.#window * 2, WINDOW_MAX);
  }

  isSent(job: Job): boolean {
    return job.place !== null;
  }

  /** Forgets a job that is about to be answered. */
  remove(job: Job): void {
    if (job.stage === 'running') this.#running -= 1;
    if (this.#leave(job)) return;
    const at = this.#waiting.indexOf(job);
    if (at >= 0) this.#waiting.splice(at, 1);
  }

  /** The first that is at that stage, of those sent. */
  first(stage: Job['stage']): Job | undefined {
    if (this.#sent.first?.stage === stage) return this.#sent.first;
    for (const job of this.#sent) if (job.stage === stage) return job;
    return undefined;
  }

  /** Takes the oldest job out when it is held: all before it are answered. */
  takeHeld(): Job | null {
    const job = this.#sent.first;
    if (job?.stage !== 'held') return null;
    this.#leave(job);
    return job;
  }

  /** Puts sent jobs back to the front of those that wait, in order. */
  sendBack(isAffected: (job: Job) => boolean): void {
    const back = [...this.#sent].filter(isAffected);
    for (const job of back) {
      this.remove(job);
      job.stage = 'waiting';
      job.reply = null;
      job.ticket += 1;
    }
    this.#waiting.unshift(...back);
  }

  /** Takes out those that wait. */
  takeWaiting(): Job[] {
    return this.#waiting.splice(0);
  }

  /** Takes out all but those to keep; what their runs come to is ignored. */
  takeAll(isKept: (job: Job) => boolean = () => false): Job[] {
    const all = [...this.#sent, ...this.#waiting].filter((job) => !isKept(job));
    for (const job of all) {
      this.remove(job);
      job.ticket += 1;
    }
    return all;
  }

  #leave(job: Job): boolean {
    if (job.place === null) return false;
    this.#sent.remove(job.place);
    job.place = null;
    return true;
  }
}
