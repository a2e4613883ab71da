import type { TransactionHash } from '#shared/domain/ids.ts';
import type { Outcome, Transaction } from '#shared/domain/transaction.ts';

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

/** Bytes of an answer, about. */
export function bytesOf({ output, error }: Pick<Outcome, 'output' | 'error'>): number {
  return (output?.length ?? 0) + (error?.length ?? 0);
}
