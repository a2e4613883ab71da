import type { ContextId, TransactionHash } from '#shared/domain/ids.ts';
import type { LogNotice } from '#shared/protocol/log-notice.ts';
import type { ContextLog } from './log-reader.ts';

/** A log in memory for tests; each read takes a turn of the event loop, and may fail. */
export class FakeLog implements ContextLog {
  readonly rows: LogNotice[] = [];
  readonly contextId: ContextId;
  failures = 0;
  reads = 0;

  constructor(contextId: ContextId) {
    this.contextId = contextId;
  }

  append(dataBytes = 1): LogNotice {
    const sequence = BigInt(this.rows.length + 1);
    const notice: LogNotice = {
      contextId: this.contextId,
      sequence,
      hash: `hash-${sequence}` as TransactionHash,
      kind: 'mutate',
      status: 'ok',
      events: [{ kind: 'Set', data: new Uint8Array(dataBytes) }],
      rootHash: null,
      changed: true,
    };
    this.rows.push(notice);
    return notice;
  }

  async head(): Promise<bigint> {
    const head = BigInt(this.rows.length);
    await this.#takeTurn();
    return head;
  }

  async read(from: bigint, limit: number): Promise<readonly LogNotice[]> {
    const rows = this.rows.slice(Number(from) - 1, Number(from) - 1 + limit);
    await this.#takeTurn();
    return rows;
  }

  async #takeTurn(): Promise<void> {
    this.reads += 1;
    await new Promise((resolve) => setImmediate(resolve));
    if (this.failures > 0) {
      this.failures -= 1;
      throw new Error('the log is away');
    }
  }
}
