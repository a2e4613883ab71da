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

export function encodeExecuteRequest(request: ExecuteRequest): Uint8Array {
  if (request.kind === 'delete' || request.kind === 'upgrade') return encode(request);
  if (request.kind === 'fork') {
    const sequence = request.sequence?.toString() ?? null;
    return encode({ ...request, sequence, sealedPrivateKey: toBase64(request.sealedPrivateKey) });
  }
  const payload = toBase64(request.payload);
  if (request.kind !== 'create') return encode({ ...request, payload });
  return encode({ ...request, payload, sealedPrivateKey: toBase64(request.sealedPrivateKey) });
}

/** Decodes what `encodeExecuteRequest` made; only services of this deployment send it. */
export function decodeExecuteRequest(bytes: Uint8Array): ExecuteRequest {
  const wire = decode<ExecuteRequest>(bytes);
  if (wire.kind === 'delete' || wire.kind === 'upgrade') return wire;
  if (wire.kind === 'fork') {
    // The wire carries decimal text where the type says a number.
    const sequence = wire.sequence === null ? null : BigInt(String(wire.sequence));
    return { ...wire, sequence, sealedPrivateKey: fromBase64(wire.sealedPrivateKey) };
  }
  const payload = fromBase64(wire.payload);
  if (wire.kind !== 'create') return { ...wire, payload };
  return { ...wire, payload, sealedPrivateKey: fromBase64(wire.sealedPrivateKey) };
}

export function encodeExecuteReply({ outcome, sequence, hash }: ExecuteReply): Uint8Array {
  const { status, output, error, fuelUsed } = outcome;
  return encode({
    outcome: {
      status,
      error,
      output: output === null ? null : toBase64(output),
      fuelUsed: fuelUsed.toString(),
    },
    sequence: sequence === null ? null : sequence.toString(),
    hash,
  });
}

export function decodeExecuteReply(bytes: Uint8Array): ExecuteReply {
  const { outcome, sequence, hash } = decode<
    Omit<ExecuteReply, 'sequence' | 'outcome'> & {
      sequence: string | null;
      outcome: Omit<ExecuteReply['outcome'], 'fuelUsed'> & { fuelUsed: string };
    }
  >(bytes);
  return {
    outcome: {
      ...outcome,
      output: outcome.output === null ? null : fromBase64(outcome.output),
      fuelUsed: BigInt(outcome.fuelUsed),
    },
    sequence: sequence === null ? null : BigInt(sequence),
    hash,
  };
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

function decode<T>(bytes: Uint8Array): T {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString()) as T;
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

/** The wire carries base64 text where the type says bytes. */
function fromBase64(text: unknown): Uint8Array {
  return Buffer.from(String(text), 'base64');
}
