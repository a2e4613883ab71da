import { type ContextId, type PublicKey, type TransactionHash, ZERO_ID } from './ids.ts';

/**
 * What a transaction is for.
 *
 * - `init` opens a context, `mutate` and `execute` run a method, `delete` is the tombstone.
 * - `upgrade` gives the context another application; its method, if any, migrates the state.
 * - `play` runs a script of the caller's own on the state: its method names the engine, its payload
 *   is the script.
 * - `fork` opens a context that goes on from a sequence of another one's log.
 */
export type TransactionKind =
  | 'init'
  | 'mutate'
  | 'execute'
  | 'play'
  | 'upgrade'
  | 'fork'
  | 'delete';

/** What was asked, and every non-deterministic input a guest can see, decided before it runs. */
export interface TransactionRequest {
  readonly kind: TransactionKind;
  readonly method: string;
  /** Arguments as the guest reads them: compact JSON for the Calimero dialects. */
  readonly payload: Uint8Array;
  readonly executorPublicKey: PublicKey;
  /** Who asked, as the permission check named it. */
  readonly principal: string;
  /** Idempotency key of the caller, unique within a context. */
  readonly requestId: string | null;
  /** Unix time in nanoseconds that the guest sees. */
  readonly timeNs: bigint;
  /** 32 bytes from which all randomness of the guest is drawn. */
  readonly randomSeed: Uint8Array;
  /** Which rules it is executed by: see `shared/runtime/execution-version.ts`. */
  readonly executionVersion: number;
  /** Upper bound of fuel; 0 means unmetered (execution version 0). */
  readonly fuelLimit: bigint;
}

export interface ApplicationEvent {
  readonly kind: string;
  readonly data: Uint8Array;
}

/** One changed key: 32 bytes, with its new value or null when it was removed. */
export interface StateChange {
  readonly key: Uint8Array;
  readonly value: Uint8Array | null;
}

/** What came of running a transaction. A failed one has no changes, no events and no output. */
export interface Outcome {
  readonly status: 'ok' | 'failed';
  /** The guest's return value; null when it returned none. */
  readonly output: Uint8Array | null;
  /** FunctionCallError text of contracts section 4.4; null when ok. */
  readonly error: string | null;
  readonly events: readonly ApplicationEvent[];
  /** Ordered by key, each key once. */
  readonly changes: readonly StateChange[];
  /** Root hash and artifact that the guest committed, if it did. */
  readonly rootHash: Uint8Array | null;
  readonly artifact: Uint8Array | null;
  readonly fuelUsed: bigint;
}

/** One executed entry of a context's log. */
export interface Transaction extends TransactionRequest, Outcome {
  readonly contextId: ContextId;
  readonly sequence: bigint;
  readonly hash: TransactionHash;
  readonly priorHash: TransactionHash;
  /** SHA-256 over the canonical encoding of everything above and the previous seal. */
  readonly seal: Uint8Array;
}

/** The last transaction of a context. */
export interface Head {
  readonly sequence: bigint;
  readonly hash: TransactionHash;
  readonly seal: Uint8Array;
}

/** The head before a context's first transaction. */
export const GENESIS: Head = {
  sequence: 0n,
  hash: ZERO_ID as TransactionHash,
  seal: new Uint8Array(32),
};
