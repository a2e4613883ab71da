import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { TransactionRequest } from '#shared/domain/transaction.ts';
import type {
  Divergence,
  Rehearsal,
  ReplayBase,
  Verification,
} from '#shared/protocol/audit-api.ts';
import type { ProgramCode } from '#shared/runtime/engines.ts';
import type { LogPage } from '#shared/store/log-pages.ts';
import type { SnapshotHash } from '#shared/store/snapshot-hashes.ts';

/** What is replayed, and what for. */
export type ReplayTask = {
  readonly contextId: ContextId;
  /** Null begins where it makes sense. */
  readonly from: bigint | null;
  /** Null ends at the head. */
  readonly to: bigint | null;
  /** The part of its time that it works, from 0 to 1: the rest it sleeps. */
  readonly share: number;
} & (
  | { readonly kind: 'verify' }
  | {
      readonly kind: 'rehearse';
      readonly applicationId: ApplicationId;
      readonly migration: Migration | null;
      /** For transactions that were executed without metering. */
      readonly fuelLimit: bigint;
    }
);

/** What a migration would see, if it were made now. */
export type Migration = Pick<TransactionRequest, 'method' | 'timeNs' | 'randomSeed'>;

export type ReplayResult =
  | { readonly kind: 'verify'; readonly verification: Verification }
  | { readonly kind: 'rehearse'; readonly rehearsal: Rehearsal };

/** The range of a replay, settled once its log was looked at. */
export interface ReplayPlan {
  readonly kind: ReplayTask['kind'];
  readonly contextId: ContextId;
  readonly from: bigint;
  readonly to: bigint;
  readonly base: ReplayBase;
  /** Whose rows the first transaction stands in: a parent's, where the context is a fork. */
  readonly firstContextId: ContextId;
  /** What the first transaction is run with. */
  readonly applicationId: ApplicationId;
  readonly fuelLimit: bigint;
}

/** Reader to executor: what to run, in order. */
export type ToExecutor =
  /** Programs that were sent before are not needed any more. */
  | { readonly kind: 'forget-programs' }
  | { readonly kind: 'program'; readonly code: ProgramCode }
  | { readonly kind: 'open'; readonly plan: ReplayPlan }
  /** Nothing can be run: the log is broken before it says with what. */
  | { readonly kind: 'unrunnable'; readonly plan: ReplayPlan; readonly broken: Divergence }
  /** Entries of the state before the first transaction: keys of 32 bytes as latin1 text. */
  | { readonly kind: 'state'; readonly entries: readonly (readonly [string, Uint8Array])[] }
  /** State diffs that are taken as they are. */
  | { readonly kind: 'diffs'; readonly page: LogPage }
  /** Rows to run; the first that `broken` names is the last that counts. */
  | {
      readonly kind: 'rows';
      readonly page: LogPage;
      readonly broken: Divergence | null;
      readonly snapshots: readonly SnapshotHash[];
    }
  | { readonly kind: 'migration'; readonly request: TransactionRequest }
  | { readonly kind: 'end'; readonly broken: Divergence | null };

/** Executor to reader, once for each message that it has handled. */
export interface Acknowledgement {
  /** The replay has its result: what follows of it is of no use. */
  readonly isSettled: boolean;
}

/** To the thread that started the replay. */
export type FromReplay =
  | { readonly kind: 'planned'; readonly plan: ReplayPlan }
  | { readonly kind: 'progress'; readonly done: number }
  | { readonly kind: 'finished'; readonly result: ReplayResult }
  /** An AppError, by its parts, or a failure of the host. */
  | {
      readonly kind: 'failed';
      readonly code: string | null;
      readonly message: string;
    };

/** The shared slot that tells which sequence an executor runs; 0 between two. */
export const WATCH_SEQUENCE = 0;
export const WATCH_BYTES = 8;
