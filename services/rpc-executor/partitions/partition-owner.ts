import type { Logger } from 'pino';
import type { Database } from '#shared/store/database.ts';
import { acquireLeases, releaseLeases, renewLeases } from '#shared/store/leases.ts';
import type { Clock } from '#shared/util/clock.ts';

export interface PartitionOwnerOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly log: Logger;
  /** Name of this executor; a restarted one with the same name takes its partitions at once. */
  readonly owner: string;
  readonly validMs: number;
  readonly renewMs: number;
  readonly onGained: (partition: number) => void;
  readonly onLost: (partition: number) => void;
}

interface Lease {
  readonly epoch: bigint;
  /** On the monotonic clock, counted from before the renewal was sent. */
  validUntilMs: number;
}

/** Holds the leases of this executor's partitions: acquires, renews, notices loss, hands over. */
export class PartitionOwner {
  readonly #options: PartitionOwnerOptions;
  readonly #leases = new Map<number, Lease>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: PartitionOwnerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    await this.#renewAndAcquire();
    this.#plan();
  }

  /** The epoch under which this executor may commit, or null when the partition is not its own. */
  epochOf(partition: number): bigint | null {
    return this.#leases.get(partition)?.epoch ?? null;
  }

  /** True while the lease certainly holds: only then may a query be answered. */
  isValid(partition: number): boolean {
    const lease = this.#leases.get(partition);
    return lease !== undefined && this.#options.clock.monotonicMs() < lease.validUntilMs;
  }

  get ownedCount(): number {
    return this.#leases.size;
  }

  /** Asks Postgres which partitions are still ours; drops the others. */
  async recheck(): Promise<ReadonlySet<number>> {
    await this.#runRound();
    return new Set(this.#leases.keys());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#round.catch(() => undefined);
    await releaseLeases(this.#options.database, this.#options.owner);
    this.#leases.clear();
  }

  #plan(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      void this.#runRound()
        .catch((error: unknown) => this.#options.log.warn({ err: error }, 'lease renewal failed'))
        .finally(() => this.#plan());
    }, this.#options.renewMs);
  }

  #runRound(): Promise<void> {
    this.#round = this.#round.catch(() => undefined).then(() => this.#renewAndAcquire());
    return this.#round;
  }

  async #renewAndAcquire(): Promise<void> {
    const { database, owner, validMs, clock } = this.#options;
    if (this.#leases.size > 0) {
      const validUntilMs = clock.monotonicMs() + validMs;
      const renewed = new Map(
        (await renewLeases(database, owner, validMs)).map(({ partition, epoch }) => [
          partition,
          epoch,
        ]),
      );
      const lost: number[] = [];
      for (const [partition, lease] of this.#leases) {
        if (renewed.get(partition) === lease.epoch) lease.validUntilMs = validUntilMs;
        else lost.push(partition);
      }
      this.#lose(lost);
    }
    if (this.#stopped) return;
    const validUntilMs = clock.monotonicMs() + validMs;
    for (const { partition, epoch } of await acquireLeases(database, {
      owner,
      exceptPartitions: [...this.#leases.keys()],
      validMs,
    })) {
      this.#leases.set(partition, { epoch, validUntilMs });
      this.#options.onGained(partition);
    }
  }

  #lose(partitions: readonly number[]): void {
    if (partitions.length === 0) return;
    this.#options.log.warn({ partitions }, 'partitions lost to another executor');
    for (const partition of partitions) {
      this.#leases.delete(partition);
      this.#options.onLost(partition);
    }
  }
}
