import type { Bus } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { partitionOf } from '#shared/protocol/internal-messages.ts';
import { encodeBeacon, type LogPosition } from '#shared/protocol/log-notice.ts';

const BEACON_MS = 1_000;

/**
 * Tells the bus what was committed: one notice per transaction, and once a second a beacon per
 * partition with the heads that moved, which reveals a notice that was lost.
 */
export class Announcer {
  readonly #bus: Bus;
  readonly #moved = new Map<number, Map<ContextId, bigint>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(bus: Bus) {
    this.#bus = bus;
  }

  start(): void {
    this.#timer = setInterval(() => this.#publishBeacons(), BEACON_MS);
  }

  /** Sends the last beacons. */
  stop(): void {
    clearInterval(this.#timer);
    this.#publishBeacons();
  }

  /** `notice` tells of the transaction at that position, as `encodeNotice` wrote it. */
  announce({ contextId, sequence }: LogPosition, notice: Uint8Array): void {
    this.#bus.publish(subjects.log(contextId), notice);
    const partition = partitionOf(contextId);
    const heads = this.#moved.get(partition) ?? new Map<ContextId, bigint>();
    heads.set(contextId, sequence);
    this.#moved.set(partition, heads);
  }

  /** The owner before may have died between a commit and its notice: an empty beacon says so. */
  announceTakeover(partition: number): void {
    this.#bus.publish(subjects.beacon(partition), encodeBeacon([]));
  }

  #publishBeacons(): void {
    for (const [partition, heads] of this.#moved) {
      const beacon = [...heads].map(([contextId, sequence]) => ({ contextId, sequence }));
      this.#bus.publish(subjects.beacon(partition), encodeBeacon(beacon));
    }
    this.#moved.clear();
  }
}
