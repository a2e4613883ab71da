import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Head, StateChange } from '#shared/domain/transaction.ts';
import type { ProgramCode } from '#shared/runtime/engines.ts';

/** A key of 32 bytes as latin1 text, and its value. */
type StateEntry = readonly [key: string, value: Uint8Array];

/** Main thread to worker. A worker handles its messages strictly in order. */
export type ToWorker =
  | { readonly kind: 'program'; readonly code: ProgramCode }
  | {
      readonly kind: 'open';
      readonly contextId: ContextId;
      readonly applicationId: ApplicationId;
      readonly head: Head;
      /** What the guest committed last, if it ever did. */
      readonly rootHash: Uint8Array | null;
    }
  | {
      readonly kind: 'load';
      readonly contextId: ContextId;
      readonly entries: readonly StateEntry[];
    }
  | {
      readonly kind: 'apply';
      readonly contextId: ContextId;
      readonly changes: readonly StateChange[];
    }
  | { readonly kind: 'close'; readonly contextId: ContextId }
  | { readonly kind: 'snapshot'; readonly runId: number; readonly contextId: ContextId }
  /** As `writeRun` wrote them. */
  | { readonly kind: 'runs'; readonly bytes: Uint8Array<ArrayBuffer> };

/** The state of a context at its speculative head. */
export interface Snapshot {
  readonly head: Head;
  readonly entries: readonly StateEntry[];
}

/** Worker to main thread. */
export type FromWorker =
  /** As `writeRan` and `writeFault` wrote them. */
  | { readonly kind: 'ran'; readonly bytes: Uint8Array<ArrayBuffer> }
  | ({ readonly kind: 'snapshot'; readonly runId: number } & Snapshot)
  | { readonly kind: 'fault'; readonly runId: number; readonly message: string };

/** Slots of the shared array in which a worker tells what it runs: for the wall-clock watchdog. */
export const WATCH_RUN_ID = 0;
export const WATCH_SLOTS = 1;
