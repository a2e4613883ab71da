import type { Client } from './client.ts';
import type { TestDatabase } from './infra.ts';
import { readLog } from './log.ts';

export interface WritersReport {
  /** Mutations that were answered with a result. */
  readonly acknowledged: number;
  /** What the others were answered with. */
  readonly refusals: readonly string[];
}

/**
 * One writer per context, each sending one mutation after another without a request id: nobody
 * but the server keeps them from being done twice.
 */
export class Writers {
  readonly #contexts: readonly string[];
  readonly #running: Promise<void>[];
  readonly #acknowledged = new Map<string, string>();
  readonly #refusals: string[] = [];
  #sent = 0;
  #isStopping = false;

  constructor(client: Client, contexts: readonly string[]) {
    this.#contexts = contexts;
    this.#running = contexts.map((contextId) => this.#write(client, contextId));
  }

  get acknowledged(): number {
    return this.#acknowledged.size;
  }

  async stop(): Promise<WritersReport> {
    this.#isStopping = true;
    await Promise.all(this.#running);
    return { acknowledged: this.acknowledged, refusals: this.#refusals };
  }

  /**
   * Reads the logs: throws unless each is whole, what was acknowledged is where its answer says,
   * and nothing was done twice.
   */
  async check({ serviceUrl }: Pick<TestDatabase, 'serviceUrl'>): Promise<void> {
    const times = new Map<string, number>();
    const places = new Map<string, string>();
    for (const contextId of this.#contexts) {
      const log = await readLog(serviceUrl, contextId);
      for (const [index, { sequence, payload, method }] of log.entries()) {
        if (sequence !== BigInt(index + 1)) throw new Error(`a gap at ${sequence}`);
        if (method !== 'set') continue;
        const { key } = JSON.parse(Buffer.from(payload).toString()) as { key: string };
        times.set(key, (times.get(key) ?? 0) + 1);
        places.set(key, `${contextId} ${sequence}`);
      }
    }
    const twice = [...times].filter(([, count]) => count > 1);
    if (twice.length > 0) throw new Error(`done twice: ${JSON.stringify(twice)}`);
    const lost = [...this.#acknowledged].filter(([key, place]) => places.get(key) !== place);
    if (lost.length > 0) throw new Error(`acknowledged, not there: ${JSON.stringify(lost)}`);
  }

  async #write(client: Client, contextId: string): Promise<void> {
    while (!this.#isStopping) {
      const key = `key-${(this.#sent += 1)}`;
      try {
        const { result, error } = await client.mutate(contextId, 'set', { key, value: key });
        if (result !== undefined) {
          this.#acknowledged.set(key, `${contextId} ${result.sequence}`);
        } else this.#refusals.push(JSON.stringify(error));
      } catch (error) {
        this.#refusals.push(String(error));
      }
    }
  }
}
