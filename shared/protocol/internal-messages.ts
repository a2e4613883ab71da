import { sha256 } from '#shared/crypto/sha256.ts';
import type { ApplicationId, ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';
import type { Outcome } from '#shared/domain/transaction.ts';

/** Number of partitions that contexts map to. Changing it moves every context. */
const PARTITIONS = 64;
/** Partitions that were looked up, because every request asks. */
const partitions = new Map<ContextId, number>();
const PARTITIONS_KNOWN_MAX = 100_000;

/** What an edge asks of the executor that owns the context's partition. */
export type ExecuteRequest =
  | {
      /** Of a `play`, the method is the engine and the payload the script. */
      readonly kind: 'query' | 'mutate' | 'execute' | 'play';
      readonly contextId: ContextId;
      readonly method: string;
      readonly payload: Uint8Array;
      /** Null runs as the node's own identity in the context. */
      readonly executorPublicKey: PublicKey | null;
      readonly principal: string;
      readonly requestId: string | null;
    }
  | {
      readonly kind: 'create';
      readonly contextId: ContextId;
      readonly applicationId: ApplicationId;
      readonly payload: Uint8Array;
      readonly memberPublicKey: PublicKey;
      readonly sealedPrivateKey: Uint8Array;
      readonly principal: string;
    }
  | {
      readonly kind: 'fork';
      /** Of the new context. */
      readonly contextId: ContextId;
      readonly parentId: ContextId;
      /** The last one that both have; null is the parent's head. */
      readonly sequence: bigint | null;
      readonly memberPublicKey: PublicKey;
      readonly sealedPrivateKey: Uint8Array;
      readonly principal: string;
    }
  | {
      readonly kind: 'upgrade';
      readonly contextId: ContextId;
      readonly applicationId: ApplicationId;
      /** Runs on the state with the new application; null leaves the state as it is. */
      readonly migrationMethod: string | null;
      readonly executorPublicKey: PublicKey | null;
      readonly principal: string;
    }
  | { readonly kind: 'delete'; readonly contextId: ContextId; readonly principal: string };

export interface ExecuteReply {
  readonly outcome: Pick<Outcome, 'status' | 'output' | 'error' | 'fuelUsed'>;
  /** Position of the transaction in the log, or null when none was left. */
  readonly sequence: bigint | null;
  readonly hash: TransactionHash | null;
}

/** The partition of a context: the first four bytes of SHA-256 over its id text, modulo 64. */
export function partitionOf(contextId: ContextId): number {
  const known = partitions.get(contextId);
  if (known !== undefined) return known;
  if (partitions.size >= PARTITIONS_KNOWN_MAX) partitions.clear();
  const partition = Buffer.from(sha256(contextId)).readUInt32BE(0) % PARTITIONS;
  partitions.set(contextId, partition);
  return partition;
}
