import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Head, Outcome, StateChange, TransactionRequest } from '#shared/domain/transaction.ts';
import type { Appended } from '#shared/runtime/context-state.ts';
import type { ProgramCode } from '#shared/runtime/engines.ts';

/** A key of 32 bytes as latin1 text, and its value. */
export type StateEntry = readonly [key: string, value: Uint8Array];

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
  | {
      readonly kind: 'run';
      readonly runId: number;
      readonly contextId: ContextId;
      readonly request: TransactionRequest;
      readonly mode: RunMode;
    };

/**
 * - `query` may not write and leaves no transaction.
 * - `append` always leaves one.
 * - `append-if-changed` leaves one if it wrote, emitted, or committed another root than the last.
 * - `append-if-ok` leaves one only on success (`init`).
 */
export type RunMode = 'query' | 'append' | 'append-if-changed' | 'append-if-ok';

/** Worker to main thread: what one run came to. */
export type FromWorker =
  | {
      readonly kind: 'ran';
      readonly runId: number;
      readonly outcome: Outcome;
      readonly logs: readonly string[];
      /** The new head when the run left a transaction, else null. */
      readonly appended: Appended | null;
      readonly stateBytes: number;
    }
  | {
      readonly kind: 'snapshot';
      readonly runId: number;
      readonly head: Head;
      readonly entries: readonly StateEntry[];
    }
  | { readonly kind: 'fault'; readonly runId: number; readonly message: string };

/** Slots of the shared array in which a worker tells what it runs: for the wall-clock watchdog. */
export const WATCH_RUN_ID = 0;
export const WATCH_SLOTS = 1;
