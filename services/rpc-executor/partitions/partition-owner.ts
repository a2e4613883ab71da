import { setTimeout as wait } from 'node:timers/promises';
import type { Logger } from 'pino';
import type { Database } from '#shared/store/database.ts';
import {
  acquireLeases,
  registerExecutor,
  releaseLeases,
  renewLeases,
  retireExecutor,
} from '#shared/store/leases.ts';
import type { Clock } from '#shared/util/clock.ts';

export interface PartitionOwnerOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Name of this executor; a restarted one with the same name takes its partitions at once. */
  readonly owner: string;
  readonly validMs: number;
  readonly renewMs: number;
  /** False while nobody could reach this executor: it then owns nothing for long. */
  readonly isReachable: () => boolean;
  readonly onGained: (partition: number) => void;
  /** Nothing new may come to the partition; resolves once what is under way there is answered. */
  readonly drain: (partition: number) => Promise<void>;
  /** It is another one's, or nobody's, from now on. */
  readonly onLost: (partition: number, how: 'handed over' | 'taken') => void;
  /** A partition is free for others. */
  readonly onReleased: () => void;
}

interface Lease {
  readonly epoch: bigint;
  /** On the monotonic clock, counted from before the renewal was sent. */
  validUntilMs: number;
  /** It is being handed over: renewed still, but nothing new is taken on. */
  isLeaving: boolean;
}

/** What is not done after so many lease times is cut off when a partition is handed over. */
const DRAIN_LEASES = 2;
/** Rounds come no closer, whatever expires. */
const ROUND_MIN_MS = 50;

/**
 * Holds the leases of this executor's partitions: renews, notices loss, and keeps to a fair share.
 * Partitions divided by executors that live, rounded up: what it has above that it hands over.
 */
export class PartitionOwner {
  readonly #options: PartitionOwnerOptions;
  readonly #leases = new Map<number, Lease>();
  readonly #leaving = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #isWaking = false;
  #stopped = false;
  #ended = false;
  #share = 0;
  #nextRoundMs: number;
  #unreachableSinceMs: number | null = null;
  #roundEndedMs = Number.NEGATIVE_INFINITY;

  constructor(options: PartitionOwnerOptions) {
    this.#options = options;
    this.#nextRoundMs = options.renewMs;
  }

  async start(): Promise<void> {
    await this.#runRound();
    this.#plan();
  }

  /** The epoch under which this executor may take on work, or null when it may not. */
  epochOf(partition: number): bigint | null {
    const lease = this.#leases.get(partition);
    return lease === undefined || lease.isLeaving ? null : lease.epoch;
  }

  /** True while the lease certainly holds: only then may a query be answered. */
  isValid(partition: number): boolean {
    const lease = this.#leases.get(partition);
    return lease !== undefined && this.#options.clock.monotonicMs() < lease.validUntilMs;
  }

  get ownedCount(): number {
    return this.#leases.size;
  }

  /** Most partitions that this executor would hold, as of the last round. */
  get share(): number {
    return this.#share;
  }

  /** True while leases can be renewed. */
  get isHealthy(): boolean {
    return this.#options.clock.monotonicMs() - this.#roundEndedMs < this.#options.validMs;
  }

  /** Asks Postgres which partitions are still ours; drops the others. */
  async recheck(): Promise<ReadonlySet<number>> {
    await this.#runRound();
    return new Set(this.#leases.keys());
  }

  /** Somebody came, or freed a partition: looks at once instead of at the next renewal. */
  wake(): void {
    if (this.#isWaking || this.#stopped) return;
    this.#isWaking = true;
    void this.#round
      .catch(() => undefined)
      .then(() => {
        this.#isWaking = false;
        return this.#stopped ? undefined : this.#runRound();
      })
      .catch((error: unknown) => this.#warn(error));
  }

  /** Hands everything over, each partition as soon as it has answered what it took on. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#round.catch(() => undefined);
    const { database, owner } = this.#options;
    try {
      await retireExecutor(database, owner);
      this.#handOver([...this.#leases.keys()]);
      await Promise.all(this.#leaving);
    } finally {
      this.#ended = true;
      clearTimeout(this.#timer);
      for (const partition of this.#leases.keys()) this.#lose(partition, 'handed over');
    }
  }

  #plan(): void {
    if (this.#ended) return;
    this.#timer = setTimeout(() => {
      void this.#runRound()
        .catch((error: unknown) => this.#warn(error))
        .finally(() => this.#plan());
    }, this.#nextRoundMs);
  }

  #warn(error: unknown): void {
    this.#options.log.warn({ err: error }, 'lease renewal failed');
  }

  #runRound(): Promise<void> {
    this.#round = this.#round
      .catch(() => undefined)
      .then(async () => {
        await this.#renew();
        if (!this.#stopped) await this.#balance();
        this.#roundEndedMs = this.#options.clock.monotonicMs();
      });
    return this.#round;
  }

  async #renew(): Promise<void> {
    if (this.#leases.size === 0) return;
    const { database, owner, validMs, clock, log } = this.#options;
    const validUntilMs = clock.monotonicMs() + validMs;
    const held = [...this.#leases].map(([partition, { epoch }]) => ({ partition, epoch }));
    const renewed = new Map(
      (await renewLeases(database, { owner, validMs, held })).map(
        ({ partition, epoch }) => [partition, epoch] as const,
      ),
    );
    const lost = held.filter(({ partition, epoch }) => renewed.get(partition) !== epoch);
    for (const { partition, epoch } of held) {
      const lease = this.#leases.get(partition);
      if (lease?.epoch === epoch && renewed.get(partition) === epoch) {
        lease.validUntilMs = validUntilMs;
      }
    }
    const taken = lost.filter(({ partition }) => this.#lose(partition, 'taken'));
    if (taken.length > 0) {
      log.warn({ partitions: taken.map(({ partition }) => partition) }, 'partitions were taken');
    }
  }

  /** Hands over what is above the fair share, or takes what is free up to it. */
  async #balance(): Promise<void> {
    const { database, owner, validMs, renewMs, clock, onGained } = this.#options;
    if (this.#isCutOff()) {
      this.#share = 0;
      this.#nextRoundMs = renewMs;
      await retireExecutor(database, owner);
    } else {
      const { live, partitions, nextExpiryMs } = await registerExecutor(database, {
        owner,
        validMs,
      });
      this.#share = Math.ceil(partitions / live);
      const soonMs = Math.max(ROUND_MIN_MS, nextExpiryMs ?? renewMs);
      this.#nextRoundMs = Math.min(renewMs, soonMs);
    }
    const staying = [...this.#leases].flatMap(([partition, { isLeaving }]) =>
      isLeaving ? [] : [partition],
    );
    if (staying.length > this.#share) this.#handOver(staying.slice(this.#share));
    if (staying.length >= this.#share) return;
    const validUntilMs = clock.monotonicMs() + validMs;
    const gained = await acquireLeases(database, {
      owner,
      validMs,
      exceptPartitions: [...this.#leases.keys()],
      max: this.#share - staying.length,
    });
    for (const { partition, epoch } of gained) {
      this.#leases.set(partition, { epoch, validUntilMs, isLeaving: false });
      onGained(partition);
    }
  }

  /** A moment without the bus is none: everybody would let go of everything when NATS restarts. */
  #isCutOff(): boolean {
    const nowMs = this.#options.clock.monotonicMs();
    if (this.#options.isReachable()) this.#unreachableSinceMs = null;
    else this.#unreachableSinceMs ??= nowMs;
    const sinceMs = this.#unreachableSinceMs;
    return sinceMs !== null && nowMs - sinceMs > this.#options.validMs;
  }

  #handOver(partitions: readonly number[]): void {
    for (const partition of partitions) {
      const lease = this.#leases.get(partition);
      if (lease === undefined || lease.isLeaving) continue;
      lease.isLeaving = true;
      const leaving = this.#release(partition, lease).catch((error: unknown) => {
        this.#options.log.warn({ err: error, partition }, 'a lease could not be released');
      });
      this.#leaving.add(leaving);
      void leaving.then(() => this.#leaving.delete(leaving));
    }
  }

  async #release(partition: number, lease: Lease): Promise<void> {
    const { database, owner, validMs, drain, onReleased } = this.#options;
    const late = new AbortController();
    const drained = drain(partition);
    const bound = wait(validMs * DRAIN_LEASES, undefined, late).catch(() => undefined);
    await Promise.race([drained, bound]);
    late.abort();
    if (this.#leases.get(partition) !== lease) return;
    this.#lose(partition, 'handed over');
    await releaseLeases(database, { owner, held: [{ partition, epoch: lease.epoch }] });
    onReleased();
  }

  /** False when it was lost before. */
  #lose(partition: number, how: 'handed over' | 'taken'): boolean {
    if (!this.#leases.delete(partition)) return false;
    this.#options.onLost(partition, how);
    return true;
  }
}
