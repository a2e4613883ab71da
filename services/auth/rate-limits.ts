import { RateLimiterMemory, RateLimiterRes } from 'rate-limiter-flexible';
import { AppError } from '#shared/domain/app-error.ts';
import type { AuthConfig } from './config.ts';

const EVERYBODY = 'everybody';

/**
 * Bounds what costs CPU before anybody is authenticated, per second: of one address, and of all
 * together on this replica.
 */
export class RateLimits {
  readonly #perAddress: RateLimiterMemory;
  readonly #total: RateLimiterMemory;

  constructor({ verificationsPerAddress, verificationsTotal }: AuthConfig) {
    this.#perAddress = new RateLimiterMemory({ points: verificationsPerAddress, duration: 1 });
    this.#total = new RateLimiterMemory({ points: verificationsTotal, duration: 1 });
  }

  /** Throws AppError `rate_limited` with the seconds to wait. */
  async take(address: string): Promise<void> {
    try {
      await this.#perAddress.consume(address);
      await this.#total.consume(EVERYBODY);
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      const retryAfter = String(Math.max(1, Math.ceil(error.msBeforeNext / 1_000)));
      throw new AppError('rate_limited', 'too many requests, try again later', { retryAfter });
    }
  }
}
