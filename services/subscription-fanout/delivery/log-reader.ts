import type { ContextId } from '#shared/domain/ids.ts';
import type { LogNotice } from '#shared/protocol/log-notice.ts';
import type { Database } from '#shared/store/database.ts';
import type { Lineage } from '#shared/store/lineage.ts';
import { readNotices } from '#shared/store/log-reader.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import type { Gate } from '#shared/util/gate.ts';

/** The log of one context, as the fanout reads it. */
export interface ContextLog {
  /** Sequence of the last transaction; 0 when the context does not exist yet. */
  head(): Promise<bigint>;
  /** Up to `limit` transactions from `from` on, in sequence order. */
  read(from: bigint, limit: number): Promise<readonly LogNotice[]>;
}

export type OpenContextLog = (contextId: ContextId) => ContextLog;

/** Reads logs from the store, no more than the gate lets through at once. */
export function createLogReader(database: Database, gate: Gate): OpenContextLog {
  return (contextId) => {
    let lineage: Lineage | null = null;
    return {
      head: async () =>
        await gate.run(async () => {
          const context = await findContext(database, contextId);
          lineage = context?.lineage ?? null;
          return context?.head.sequence ?? 0n;
        }),
      read: async (from, limit) =>
        await gate.run(async () => {
          lineage ??= (await findContext(database, contextId))?.lineage ?? null;
          if (lineage === null) return [];
          return await readNotices(database, lineage, { from, limit });
        }),
    };
  };
}
