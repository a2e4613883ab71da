import type { ReplayBase } from '#shared/protocol/audit-api.ts';
import { CopyRows } from '#shared/store/copy-rows.ts';
import type { Database } from '#shared/store/database.ts';
import { partsWithin } from '#shared/store/lineage.ts';
import { DIFF, LOG, streamDiffPages, streamLogPages } from '#shared/store/log-pages.ts';
import { findSnapshot, readSnapshot, type Snapshot } from '#shared/store/snapshot-store.ts';
import type { ContextRow } from '#shared/store/transaction-log.ts';
import type { ChainHead } from './chain-check.ts';
import { LogRows, LogTexts } from './log-rows.ts';
import type { ToExecutor } from './messages.ts';

/** The state behind a sequence as the log has it, without running anything. */
export interface Base {
  readonly kind: ReplayBase;
  readonly sequence: bigint;
  readonly snapshot: Snapshot | null;
}

/** How to come by the state behind `sequence`: the newest snapshot that the log confirms, and diffs. */
export async function findBase(
  database: Database,
  context: ContextRow,
  sequence: bigint,
): Promise<Base> {
  if (sequence === 0n) return { kind: 'nothing', sequence, snapshot: null };
  const snapshot = await findSnapshot(database, context.lineage, sequence);
  return { kind: snapshot === null ? 'diffs' : 'snapshot and diffs', sequence, snapshot };
}

/** Sends that state. Gives the first sequence that is missing on the way, or null. */
export async function sendBase(
  database: Database,
  context: ContextRow,
  { sequence, snapshot }: Base,
  send: (message: ToExecutor) => Promise<void>,
): Promise<bigint | null> {
  for await (const entries of snapshot === null ? [] : readSnapshot(database, snapshot)) {
    await send({ kind: 'state', entries });
  }
  let next = (snapshot?.sequence ?? 0n) + 1n;
  const parts = partsWithin(context.lineage, { from: next, to: sequence });
  for await (const page of streamDiffPages(database, parts)) {
    const rows = new CopyRows(DIFF, page.bytes);
    while (rows.next()) {
      if (rows.int8(DIFF.sequence) !== next) return next;
      next += 1n;
    }
    await send({ kind: 'diffs', page });
  }
  return next > sequence ? null : next;
}

/** The chain at a sequence, or null when the log has no such row. */
export async function readHead(
  database: Database,
  context: ContextRow,
  sequence: bigint,
): Promise<ChainHead | null> {
  const parts = partsWithin(context.lineage, { from: sequence, to: sequence });
  for await (const page of streamLogPages(database, parts)) {
    const log = new LogRows(page, new LogTexts());
    if (!log.next()) continue;
    const { rows } = log;
    return { sequence, hash: rows.bytes(LOG.hash), seal: rows.bytes(LOG.seal) };
  }
  return null;
}
