import { setTimeout } from 'node:timers/promises';
import { eventually } from './eventually.ts';
import { WsClient } from './ws-client.ts';

const RETRY_MS = 100;

/** Follows one context, and goes on behind the last sequence when its connection ends. */
export class ResumingSubscriber {
  readonly #url: string;
  readonly #token: string;
  readonly #contextId: string;
  readonly #running: Promise<void>;
  readonly #sequences: bigint[] = [];
  #isStopping = false;
  connections = 0;

  constructor(url: string, token: string, contextId: string) {
    this.#url = url;
    this.#token = token;
    this.#contextId = contextId;
    this.#running = this.#run();
  }

  /** Waits until it has come to `head`; throws unless it saw each sequence up to it once, in order. */
  async finish(head: bigint): Promise<void> {
    await eventually(() => this.#last >= head, 60_000);
    this.#isStopping = true;
    await this.#running;
    const expected = Array.from({ length: this.#sequences.length }, (_, i) => BigInt(i + 1));
    const wrong = this.#sequences.findIndex((sequence, i) => sequence !== expected[i]);
    if (wrong !== -1) {
      const seen = this.#sequences.slice(Math.max(0, wrong - 3), wrong + 3);
      throw new Error(`a gap or a duplicate: … ${seen.join(', ')} …`);
    }
  }

  get #last(): bigint {
    return this.#sequences.at(-1) ?? 0n;
  }

  async #run(): Promise<void> {
    while (!this.#isStopping) {
      try {
        await this.#follow();
      } catch {
        await setTimeout(RETRY_MS);
      }
    }
  }

  async #follow(): Promise<void> {
    await using client = await WsClient.connect(this.#url, this.#token);
    this.connections += 1;
    client.socket.on('message', (data: Buffer) => {
      const { result } = JSON.parse(data.toString()) as { result?: Record<string, unknown> };
      if (result?.['type'] !== 'TransactionExecuted') return;
      this.#sequences.push(BigInt(String(result['sequence'])));
    });
    const since = { [this.#contextId]: this.#last.toString() };
    const { error } = await client.subscribe([this.#contextId], since);
    if (error !== undefined) throw new Error(JSON.stringify(error));
    while (client.closed === null && !this.#isStopping) await setTimeout(RETRY_MS);
  }
}
