import type { Bus } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { AppError } from '#shared/domain/app-error.ts';
import {
  decodeExecuteReply,
  encodeExecuteRequest,
  type ExecuteReply,
  type ExecuteRequest,
  partitionOf,
} from '#shared/protocol/internal-messages.ts';
import { backoff } from '#shared/util/backoff.ts';
import type { Clock } from '#shared/util/clock.ts';

/** Sends a request to the owner of its context's partition; tries again inside the deadline. */
export function requestExecution(
  bus: Bus,
  clock: Clock,
  request: ExecuteRequest,
  deadlineMs: number,
): Promise<ExecuteReply> {
  return retryUntil(clock, deadlineMs, () => askOwner(bus, request, deadlineMs));
}

/** One request to the owner of the partition, over the bus. */
export async function askOwner(
  bus: Bus,
  request: ExecuteRequest,
  deadlineMs: number,
): Promise<ExecuteReply> {
  const subject = subjects.execute(partitionOf(request.contextId));
  const reply = await bus.request(subject, encodeExecuteRequest(request), { deadlineMs });
  return decodeExecuteReply(reply);
}

/**
 * Runs `attempt` again while it is refused as `unavailable` or `stale_epoch`, which both mean that
 * nothing was done, and throws `timeout` once the deadline has passed, whatever is under way then.
 */
export function retryUntil<T>(
  clock: Clock,
  deadlineMs: number,
  attempt: () => Promise<T>,
): Promise<T> {
  return new Promise((resolve, reject) => {
    // Most calls succeed at once: only a wait between two attempts needs a signal.
    let waiting: AbortController | null = null;
    let isOver = false;
    const timer = setTimeout(
      () => {
        isOver = true;
        waiting?.abort();
        reject(new AppError('timeout', 'no answer within the deadline; the outcome is unknown'));
      },
      Math.max(1, deadlineMs - clock.nowMs()),
    );
    const succeed = (value: T): void => {
      clearTimeout(timer);
      resolve(value);
    };
    const tryOnce = (count: number): void => {
      attempt().then(succeed, (error: unknown) => {
        if (isOver) return;
        if (isUndone(error)) {
          waiting = new AbortController();
          void backoff(count, waiting.signal).then(() => isOver || tryOnce(count + 1));
        } else {
          clearTimeout(timer);
          reject(error instanceof Error ? error : new Error('unknown failure'));
        }
      });
    };
    tryOnce(0);
  });
}

function isUndone(error: unknown): boolean {
  return (
    error instanceof AppError && (error.code === 'unavailable' || error.code === 'stale_epoch')
  );
}
