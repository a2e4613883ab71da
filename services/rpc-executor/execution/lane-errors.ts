import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';

/** Why a lane ends. */
export type CloseCode = 'stale_epoch' | 'context_not_found' | 'unavailable';

/** What callers are told whom a lane has not answered when it ends. */
export function closeErrorOf(code: CloseCode, contextId: ContextId): AppError {
  switch (code) {
    case 'stale_epoch':
      return closedError();
    case 'unavailable':
      return new AppError('timeout', 'the outcome is unknown, try again');
    case 'context_not_found':
      return new AppError('context_not_found', 'no such context', { contextId });
  }
}

export function closedError(): AppError {
  return new AppError('stale_epoch', 'the context moved to another executor, try again');
}

export function heldBackError(): AppError {
  return new AppError('overloaded', 'a call of this context took too long, try again later');
}
