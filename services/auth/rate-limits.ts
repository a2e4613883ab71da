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

  /** A login. Throws AppError `rate_limited` with the seconds to wait. */
  async take(address: string): Promise<void> {
    await this.#consume(async () => {
      await this.#perAddress.consume(groupOf(address));
      await this.#total.consume(EVERYBODY);
    });
  }

  /** Credentials that may be wrong: paid by one address only, and given back when they were right. */
  async takeAttempt(address: string): Promise<void> {
    await this.#consume(() => this.#perAddress.consume(groupOf(address)));
  }

  async giveBack(address: string): Promise<void> {
    await this.#perAddress.reward(groupOf(address));
  }

  async #consume(pay: () => Promise<unknown>): Promise<void> {
    try {
      await pay();
    } catch (error) {
      if (!(error instanceof RateLimiterRes)) throw error;
      const retryAfter = String(Math.max(1, Math.ceil(error.msBeforeNext / 1_000)));
      throw new AppError('rate_limited', 'too many requests, try again later', { retryAfter });
    }
  }
}

/** One network of IPv6 is one caller: it has more addresses than anybody can count. */
function groupOf(address: string): string {
  const mapped = address.replace(/^::ffff:/i, '');
  return mapped.includes(':') ? mapped.split(':').slice(0, 4).join(':') : mapped;
}
