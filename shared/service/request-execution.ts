import type { Bus } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { decodeExecuteReply, encodeExecuteRequest } from '#shared/protocol/execute-messages.ts';
import {
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
  const routes = new OwnerRoutes();
  return retryUntil(clock, deadlineMs, () => routes.ask(bus, request, deadlineMs));
}

/**
 * Where the owners of partitions are: whoever answered for one is asked directly from then on, so
 * that all requests of a tick to one executor travel together, whatever partitions they are of.
 */
export class OwnerRoutes {
  readonly #executors = new Map<number, string>();

  /** One request to the owner of the context's partition. */
  async ask(bus: Bus, request: ExecuteRequest, deadlineMs: number): Promise<ExecuteReply> {
    const partition = partitionOf(request.contextId);
    const payload = encodeExecuteRequest(request);
    const known = this.#executors.get(partition);
    if (known !== undefined) {
      try {
        const answer = await bus.request(subjects.executor(known), payload, { deadlineMs });
        return decodeExecuteReply(answer).reply;
      } catch (error) {
        if (!isUndone(error)) throw error;
        this.#executors.delete(partition);
      }
    }
    const answer = await bus.request(subjects.execute(partition), payload, { deadlineMs });
    const { reply, executorId } = decodeExecuteReply(answer);
    this.#executors.set(partition, executorId);
    return reply;
  }
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
