import type { TransactionRequest } from '#shared/domain/transaction.ts';
import type { Place } from '#shared/util/linked-list.ts';
import { bytesOf, keptReply, type LaneReply } from './lane-reply.ts';
import type { RequestIndex } from './request-index.ts';
import type { RunMode } from './run-messages.ts';

/** One request on its way through a lane. */
export interface Job {
  readonly request: TransactionRequest;
  readonly mode: RunMode;
  readonly resolve: (reply: LaneReply) => void;
  readonly reject: (error: Error) => void;
  attempts: number;
  /** `held`: finished without a transaction, answered once all before it is committed. */
  stage: 'waiting' | 'running' | 'committing' | 'held';
  /** What it came to, while it is committing or held. */
  reply: LaneReply | null;
  /** Grows when the job is sent or sent back, so that a late answer of the worker is ignored. */
  ticket: number;
  /** Among those that were sent. */
  place: Place<Job> | null;
}

/** A job that tells the index of request ids how it ends, before its caller. */
export function createJob(
  request: TransactionRequest,
  mode: RunMode,
  end: Pick<Job, 'resolve' | 'reject'> & { readonly requests: RequestIndex<LaneReply> },
): Job {
  const { requestId } = request;
  const { resolve, reject, requests } = end;
  const start = {
    request,
    mode,
    attempts: 0,
    stage: 'waiting',
    reply: null,
    ticket: 0,
    place: null,
  } as const;
  if (requestId === null) return { ...start, resolve, reject };
  return {
    ...start,
    resolve: (reply) => {
      if (reply.sequence === null) {
        requests.answered(bytesOf(reply));
        resolve(keptReply(reply));
      } else {
        requests.logged(requestId);
        resolve(reply);
      }
    },
    reject: (error) => {
      requests.failed(requestId);
      reject(error);
    },
  };
}
