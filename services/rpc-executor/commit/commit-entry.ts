import type { ContextId } from '#shared/domain/ids.ts';
import type { TransactionRequest } from '#shared/domain/transaction.ts';
import { decodeUpgrade } from '#shared/protocol/upgrade.ts';
import type { AppendRow } from '#shared/store/log-append.ts';
import type { AppendedRow, Ran } from '../execution/run-messages.ts';

/** One executed transaction on its way into the log. */
export interface CommitEntry extends AppendRow {
  readonly lane: CommitLane;
  readonly status: 'ok' | 'failed';
  /** What is published once it is committed. */
  readonly notice: Uint8Array;
  /** Bytes that it wrote to the state, about. */
  readonly changedBytes: number;
}

/** What the committer knows of a lane. */
export interface CommitLane {
  readonly contextId: ContextId;
  readonly contextKey: bigint;
  readonly partition: number;
  readonly epoch: bigint;
  /** The entries are durable, in this order. */
  committed(entries: readonly CommitEntry[]): void;
  /** None of the entries, nor anything the lane ran after them, is in the log. */
  rolledBack(entries: readonly CommitEntry[], reason: RollbackReason): void;
}

/**
 * - `fenced`: another owner has the partition.
 * - `conflict`: the log already holds the sequence or a request id of it.
 * - `refused`: Postgres will never take the first of them.
 * - `unknown`: nobody knows whether it is in the log.
 */
export type RollbackReason = 'fenced' | 'conflict' | 'refused' | 'unknown';

export function commitEntryOf(
  lane: CommitLane,
  { kind, payload }: TransactionRequest,
  { appended, outcome, stateBytes }: Ran & { readonly appended: AppendedRow },
): CommitEntry {
  return {
    lane,
    contextKey: lane.contextKey,
    row: appended.row,
    stateBytes,
    upgradedTo: kind === 'upgrade' ? decodeUpgrade(payload).to : null,
    isTombstone: kind === 'delete',
    status: outcome.status,
    notice: appended.notice,
    changedBytes: appended.changedBytes,
  };
}
