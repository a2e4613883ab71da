import type { Principal } from '#shared/domain/permissions.ts';
import type { Credentials } from '#shared/service/authenticate.ts';
import { authorizeSomewhere, isAllowedSomewhere } from '#shared/service/authorize.ts';
import type { Clock } from '#shared/util/clock.ts';

export interface CallerOptions {
  readonly principal: Principal;
  readonly credentials: Credentials;
  readonly clock: Clock;
  /** How long somebody without credentials may wait before sending some. */
  readonly authenticateMs: number;
  /** Throws AppError for credentials that are wrong. */
  readonly verify: (credentials: Credentials) => Promise<Principal>;
  /** Called with the reason when the time of a connection is over. */
  readonly onEnd: (reason: string) => void;
}

/** The longest time that a timer of Node takes. */
const TIMER_MS_MAX = 2 ** 31 - 1;
/** Clocks of replicas differ: who is refused this close to the end is refused because of it. */
const CLOCK_SKEW_MS = 2_000;

/** Who is at the other end of a connection, and for how long. */
export class Caller {
  readonly #options: CallerOptions;
  readonly #openedMs: number;
  #principal: Principal;
  #credentials: Credentials;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: CallerOptions) {
    this.#options = options;
    this.#openedMs = options.clock.nowMs();
    this.#principal = options.principal;
    this.#credentials = options.credentials;
    this.#arm();
  }

  get principal(): Principal {
    return this.#principal;
  }

  get credentials(): Credentials {
    return this.#credentials;
  }

  /** False for somebody who has to authenticate before anything else. */
  get isKnown(): boolean {
    return isAllowedSomewhere(this.#principal, 'context_subscribe');
  }

  /** The same credentials mean this from now on. */
  become(principal: Principal): void {
    this.#principal = principal;
    this.#arm();
  }

  /** Takes other credentials. Throws AppError, and stays who it was, when they are refused. */
  async authenticate(token: string): Promise<void> {
    const credentials = { ...this.#credentials, token, headers: {} };
    const principal = await this.#options.verify(credentials);
    authorizeSomewhere(principal, 'context_subscribe');
    this.#credentials = credentials;
    this.become(principal);
  }

  /** True when the credentials are refused because their time is over. */
  isExpired(): boolean {
    const { expiresMs = Number.POSITIVE_INFINITY } = this.#principal;
    return this.#options.clock.nowMs() + CLOCK_SKEW_MS >= expiresMs;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #arm(): void {
    clearTimeout(this.#timer);
    const { authenticateMs, clock, onEnd } = this.#options;
    const untilMs = this.isKnown ? this.#principal.expiresMs : this.#openedMs + authenticateMs;
    if (untilMs === undefined || this.#isClosed) return;
    const leftMs = Math.max(0, untilMs - clock.nowMs());
    this.#timer = setTimeout(
      () => {
        if (clock.nowMs() < untilMs) this.#arm();
        else onEnd(this.isKnown ? 'the token expired' : 'authenticate first');
      },
      Math.min(leftMs, TIMER_MS_MAX),
    );
  }
}
