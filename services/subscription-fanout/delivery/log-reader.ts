import type { ContextId } from '#shared/domain/ids.ts';
import type { LogNotice } from '#shared/protocol/log-notice.ts';
import type { Database } from '#shared/store/database.ts';
import type { Lineage } from '#shared/store/lineage.ts';
import { readNotices } from '#shared/store/log-reader.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import type { Gate } from '#shared/util/gate.ts';

/** Event data of one read: what is over it is left for the next. */
export const READ_BYTES_MAX = 4_194_304;

/** The log of one context, as the fanout reads it. */
export interface ContextLog {
  /** Sequence of the last transaction; 0 when the context does not exist yet. */
  head(): Promise<bigint>;
  /**
   * Up to `limit` transactions from `from` on, in sequence order; fewer, but at least one, where
   * their events are larger than `READ_BYTES_MAX`.
   */
  read(from: bigint, limit: number): Promise<readonly LogNotice[]>;
}

export type OpenContextLog = (contextId: ContextId) => ContextLog;

/** Reads logs from the store, no more than the gate lets through at once. */
export function createLogReader(
  database: Database,
  gate: Gate,
  onRead: () => void,
): OpenContextLog {
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
          onRead();
          return await readNotices(database, lineage, { from, limit, bytesMax: READ_BYTES_MAX });
        }),
    };
  };
}
