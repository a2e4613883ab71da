import type { ContextId } from '#shared/domain/ids.ts';
import type { Committer } from '../commit/committer.ts';
import type { Lane } from './lane.ts';
import type { LaneStore } from './lane-store.ts';
import type { WorkerSlot } from './worker-pool.ts';

export interface LaneOptions {
  readonly contextId: ContextId;
  readonly partition: number;
  readonly epoch: bigint;
  /** Where it begins; `move` changes it. */
  readonly slot: WorkerSlot;
  readonly committer: Committer;
  readonly store: LaneStore;
  readonly isLeaseValid: () => boolean;
  readonly queueMax: number;
  /** How long calls are refused after one that took too long. */
  readonly holdBackMs: number;
  /** A call used so much fuel that its neighbours in the thread had to wait noticeably. */
  readonly onHeavyCall: (lane: Lane) => void;
  readonly heavyCallFuel: bigint;
  readonly onClosed: (lane: Lane) => void;
  /** The state of the context in memory grew, or shrank, by so many bytes. */
  readonly onResized: (bytes: number) => void;
  readonly onLogs: (contextId: ContextId, logs: readonly string[]) => void;
}
