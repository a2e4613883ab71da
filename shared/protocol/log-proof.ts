import { decodeId } from '#shared/crypto/base58.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import { CanonicalWriter } from './canonical-writer.ts';

/**
 * Proofs that a log holds a transaction. The log is a Merkle tree over its seals
 * ([merkle.ts](merkle.ts)); a head of it is signed by the node; a path leads from the transaction's
 * seal to the root of that head. In JSON, hashes and all bytes are lower-case hex, ids are base58,
 * 64-bit numbers decimal texts.
 */
export const PROOF_FORMAT = 'cairn-proof';
export const CONSISTENCY_FORMAT = 'cairn-consistency-proof';
export const PROOF_VERSION = 1;

/** The end of a log at some time: what a node stands for with its key. */
export interface LogHead {
  readonly contextId: ContextId;
  /** Transactions in the log. */
  readonly size: bigint;
  /** Root of the tree over their seals. */
  readonly root: Uint8Array;
  readonly lastSeal: Uint8Array;
  /** Unix time in milliseconds at which it was signed. */
  readonly timeMs: number;
}

export interface SignedLogHead extends LogHead {
  /** The node's ed25519 key. */
  readonly nodeKey: PublicKey;
  readonly signature: Uint8Array;
}

export interface LogProof {
  readonly transaction: Omit<Transaction, 'seal'>;
  readonly priorSeal: Uint8Array;
  /** From the neighbour of the transaction's leaf upwards. */
  readonly path: readonly Uint8Array[];
  readonly head: SignedLogHead;
}

/** That the log of a later head begins with the log of an earlier one. */
export interface ConsistencyProof {
  /** Size of the earlier log. */
  readonly from: bigint;
  readonly path: readonly Uint8Array[];
  readonly head: SignedLogHead;
}

/** Nothing else that a node signs begins with this. */
const HEAD_LABEL = 'cairn.log-head.v1\n';
const head = new CanonicalWriter();

/**
 * What the signature of a head is over, valid until the next call: the label, the 32 bytes of the
 * context id, u64 size, 32 bytes root, 32 bytes last seal, u64 time.
 */
export function headBytes({ contextId, size, root, lastSeal, timeMs }: LogHead): Uint8Array {
  head.start();
  head.utf8(HEAD_LABEL);
  head.raw(decodeId(contextId));
  head.u64(size);
  head.raw(root);
  head.raw(lastSeal);
  head.u64(BigInt(timeMs));
  return head.finish();
}

export function proofJson({ transaction, priorSeal, path, head }: LogProof) {
  const t = transaction;
  return {
    format: PROOF_FORMAT,
    version: PROOF_VERSION,
    transaction: {
      contextId: t.contextId,
      sequence: t.sequence.toString(),
      hash: t.hash,
      priorHash: t.priorHash,
      kind: t.kind,
      method: t.method,
      payload: hexOf(t.payload),
      executorPublicKey: t.executorPublicKey,
      principal: t.principal,
      requestId: t.requestId,
      timeNs: t.timeNs.toString(),
      randomSeed: hexOf(t.randomSeed),
      executionVersion: t.executionVersion,
      fuelLimit: t.fuelLimit.toString(),
      status: t.status,
      output: optionalHexOf(t.output),
      error: t.error,
      events: t.events.map(({ kind, data }) => ({ kind, data: hexOf(data) })),
      changes: t.changes.map(({ key, value }) => ({
        key: hexOf(key),
        value: optionalHexOf(value),
      })),
      rootHash: optionalHexOf(t.rootHash),
      artifact: optionalHexOf(t.artifact),
      fuelUsed: t.fuelUsed.toString(),
    },
    priorSeal: hexOf(priorSeal),
    path: path.map(hexOf),
    head: headJson(head),
  };
}

export function consistencyJson({ from, path, head }: ConsistencyProof) {
  return {
    format: CONSISTENCY_FORMAT,
    version: PROOF_VERSION,
    from: from.toString(),
    path: path.map(hexOf),
    head: headJson(head),
  };
}

export function headJson(head: SignedLogHead) {
  return {
    contextId: head.contextId,
    size: head.size.toString(),
    root: hexOf(head.root),
    lastSeal: hexOf(head.lastSeal),
    timeMs: head.timeMs,
    nodeKey: head.nodeKey,
    signature: hexOf(head.signature),
  };
}

const DIGITS = new TextEncoder().encode('0123456789abcdef');
const ascii = new TextDecoder();

function hexOf(bytes: Uint8Array): string {
  const digits = new Uint8Array(bytes.length * 2);
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i] ?? 0;
    digits[2 * i] = DIGITS[byte >> 4] ?? 0;
    digits[2 * i + 1] = DIGITS[byte & 15] ?? 0;
  }
  return ascii.decode(digits);
}

function optionalHexOf(bytes: Uint8Array | null): string | null {
  return bytes === null ? null : hexOf(bytes);
}
