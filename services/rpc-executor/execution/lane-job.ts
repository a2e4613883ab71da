import type { TransactionRequest } from '#shared/domain/transaction.ts';
import type { LaneReply } from './lane-reply.ts';
import type { RunMode } from './worker-messages.ts';

/** One request on its way through a lane. */
export interface Job {
  readonly request: TransactionRequest;
  readonly mode: RunMode;
  readonly resolve: (reply: LaneReply) => void;
  readonly reject: (error: Error) => void;
  attempts: number;
  /** `held`: finished without a transaction, answered once all before it is committed. */
  stage: 'waiting' | 'running' | 'committing' | 'held';
  heldReply: LaneReply | null;
  /** Changes when the job is sent back, so that a late answer of the worker is ignored. */
  ticket: symbol;
}
