import type { MessagePort } from 'node:worker_threads';
import { setTimeout } from 'node:timers/promises';
import type { Acknowledgement, ToExecutor } from './messages.ts';

/** The executor knows its result already: what still would be sent is of no use. */
export class SettledError extends Error {
  override readonly name = 'SettledError';
}

/** Messages that may wait for the executor: what is in memory is bounded by it. */
const AHEAD = 3;

/** The reader's end of the channel to the executor: it waits where the executor is behind. */
export class ExecutorChannel {
  readonly #port: MessagePort;
  /** Messages that are not handled yet. */
  #waiting = 0;
  #isSettled = false;
  #share = 1;
  #sinceMs = 0;
  #wake: (() => void) | null = null;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', ({ isSettled }: Acknowledgement) => {
      this.#waiting -= 1;
      this.#isSettled ||= isSettled;
      this.#wake?.();
    });
  }

  /** Begins the next replay once all of the last one is handled; `share` as in its task. */
  async begin(share: number): Promise<void> {
    await this.#until(0);
    this.#isSettled = false;
    this.#share = share;
    this.#sinceMs = performance.now();
  }

  /** Hands a page over, which is gone here then. Throws SettledError. */
  async send(message: ToExecutor): Promise<void> {
    await this.#until(this.#share < 1 ? 0 : AHEAD - 1);
    if (this.#isSettled) throw new SettledError('the result is known');
    if (this.#share < 1) await this.#rest();
    this.#waiting += 1;
    this.#port.postMessage(message, 'page' in message ? [message.page.bytes.buffer] : []);
  }

  async #until(waitingMax: number): Promise<void> {
    while (this.#waiting > waitingMax) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Both threads have worked since the last rest: they sleep for as long as their share demands. */
  async #rest(): Promise<void> {
    const workedMs = performance.now() - this.#sinceMs;
    await setTimeout(workedMs * (1 / this.#share - 1));
    this.#sinceMs = performance.now();
  }
}
