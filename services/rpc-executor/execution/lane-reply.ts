import type { TransactionHash } from '#shared/domain/ids.ts';
import type { Outcome, Transaction } from '#shared/domain/transaction.ts';
import type { Ran } from './run-messages.ts';

/** What a caller gets once it is durable. */
export interface LaneReply {
  readonly outcome: Pick<Outcome, 'status' | 'output' | 'error' | 'fuelUsed'>;
  /** Position of the transaction, or null when none was left. */
  readonly sequence: bigint | null;
  readonly hash: TransactionHash | null;
}

/** The answer that a logged transaction gave its caller. */
export function replyOf(transaction: Transaction): LaneReply {
  const { status, output, error, fuelUsed, sequence, hash } = transaction;
  return { outcome: { status, output, error, fuelUsed }, sequence, hash };
}

export function replyOfRun({ outcome, appended }: Ran): LaneReply {
  return { outcome, sequence: appended?.sequence ?? null, hash: appended?.hash ?? null };
}

/** The same in memory of its own: a run's answer is a view on a message of many. */
export function keptReply(reply: LaneReply): LaneReply {
  const { output } = reply.outcome;
  if (output === null) return reply;
  return { ...reply, outcome: { ...reply.outcome, output: new Uint8Array(output) } };
}

/** Bytes of an answer, about. */
export function bytesOf({ outcome: { output, error } }: LaneReply): number {
  return (output?.length ?? 0) + (error?.length ?? 0);
}
