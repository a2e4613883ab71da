import { RateLimiterMemory } from 'rate-limiter-flexible';
import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';

export interface FuelBudgetsOptions {
  /** Fuel that all calls of one context may use in a minute; 0 is no limit. */
  readonly perContextMinute: number;
  /** Fuel that all calls of one principal may use in a minute on this executor; 0 is no limit. */
  readonly perPrincipalMinute: number;
}

const SECONDS = 60;

/**
 * Bounds what contexts and callers may use over time. What a call will cost is not known before it
 * ran, so one that starts within its budget may end above it; the next has to wait.
 */
export class FuelBudgets {
  readonly #context: RateLimiterMemory | null;
  readonly #principal: RateLimiterMemory | null;

  constructor({ perContextMinute, perPrincipalMinute }: FuelBudgetsOptions) {
    this.#context = limiterOf(perContextMinute);
    this.#principal = limiterOf(perPrincipalMinute);
  }

  /** True when nothing is bounded: nobody has to wait for an answer then. */
  get isEmpty(): boolean {
    return this.#context === null && this.#principal === null;
  }

  /** Throws AppError `rate_limited` while a budget of the last minute is used up. */
  async demand(contextId: ContextId, principal: string): Promise<void> {
    await demandOf(this.#context, contextId, `the context ${contextId}`);
    await demandOf(this.#principal, principal, principal);
  }

  async spend(contextId: ContextId, principal: string, fuel: bigint): Promise<void> {
    await this.#context?.penalty(contextId, Number(fuel));
    await this.#principal?.penalty(principal, Number(fuel));
  }
}

function limiterOf(fuel: number): RateLimiterMemory | null {
  return fuel === 0 ? null : new RateLimiterMemory({ points: fuel, duration: SECONDS });
}

async function demandOf(
  limiter: RateLimiterMemory | null,
  key: string,
  whose: string,
): Promise<void> {
  const used = await limiter?.get(key);
  if (limiter === null || used === null || used === undefined) return;
  if (used.consumedPoints < limiter.points) return;
  const seconds = Math.max(1, Math.ceil(used.msBeforeNext / 1_000));
  throw new AppError(
    'rate_limited',
    `${whose} used its fuel of this minute, try again in ${seconds} s`,
    { retryAfter: String(seconds) },
  );
}
