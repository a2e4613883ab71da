import { decodeId, encodeId } from '#shared/crypto/base58.ts';
import { portableSha256, portableVerifyEd25519 } from '#shared/crypto/portable.ts';
import { changesBytes, eventsBytes, sealedBytes } from '#shared/protocol/seal-encoding.ts';
import { hashedBytes } from '#shared/protocol/hash-encoding.ts';
import { headBytes, type LogProof, type SignedLogHead } from '#shared/protocol/log-proof.ts';
import { isConsistent, isSame, leafHash, rootOfPath } from '#shared/protocol/merkle.ts';
import {
  parseConsistencyProof,
  parseProof,
  parseSignedHead,
  ProofFormatError,
} from '#shared/protocol/parse-proof.ts';

/** What the verifier knows already; nothing of it is taken from the proof. */
export interface Known {
  /** The public key of the node, in base58. */
  readonly nodeKey: string;
  /** The context whose log it should be, where that matters. */
  readonly contextId?: string;
}

export type Verdict<T> =
  | ({ readonly isValid: true } & T)
  /** Why not. */
  | { readonly isValid: false; readonly reason: string };

/**
 * Whether a node stands for it that a transaction is in a context's log: recomputes the
 * transaction's hash and seal, the way to the root, and the signature of the head. Needs no server,
 * and runs in a browser.
 *
 * @example
 * const verdict = verifyProof(JSON.parse(text), { nodeKey: '9aBc…' });
 * if (verdict.isValid) console.log(verdict.proof.transaction.method);
 */
export function verifyProof(
  json: unknown,
  known: Known,
): Verdict<{ readonly proof: LogProof; readonly seal: Uint8Array }> {
  return judged(() => {
    const proof = parseProof(json);
    const { transaction, priorSeal, path, head } = proof;
    demandHead(head, known);
    const { sequence } = transaction;
    const hash = portableSha256(hashedBytes(transaction));
    demand(encodeId(hash) === transaction.hash, 'the hash is not that of the transaction');
    const seal = sealOf(transaction, priorSeal);
    demand(sequence >= 1n && sequence <= head.size, 'the transaction is not within the log');
    const place = { index: sequence - 1n, size: head.size };
    const root = rootOfPath(portableSha256, leafHash(portableSha256, seal), place, path);
    demand(root !== null && isSame(root, head.root), 'the path does not lead to the root');
    const isLast = sequence === head.size;
    demand(!isLast || isSame(seal, head.lastSeal), 'the last seal is not that of the transaction');
    return { proof, seal };
  });
}

/** Whether the log of a later head begins with that of an earlier one, which the verifier kept. */
export function verifyConsistency(
  earlier: unknown,
  json: unknown,
  known: Known,
): Verdict<{ readonly head: SignedLogHead }> {
  return judged(() => {
    const first = parseSignedHead(earlier);
    const { from, path, head } = parseConsistencyProof(json);
    demandHead(first, known);
    demandHead(head, known);
    demand(first.contextId === head.contextId, 'the heads are of different contexts');
    demand(first.size === from, 'the proof is about another size');
    demand(
      isConsistent(portableSha256, first, head, path),
      'the later log does not begin with the earlier one',
    );
    return { head };
  });
}

function demandHead(head: SignedLogHead, { nodeKey, contextId }: Known): void {
  demand(head.nodeKey === nodeKey, `the head is signed by another key, ${head.nodeKey}`);
  demand(
    portableVerifyEd25519(decodeId(nodeKey), headBytes(head), head.signature),
    'the signature of the head is not good',
  );
  demand(contextId === undefined || contextId === head.contextId, 'the head is of another context');
}

function sealOf(transaction: LogProof['transaction'], priorSeal: Uint8Array): Uint8Array {
  const fields = {
    ...transaction,
    contextId: decodeId(transaction.contextId),
    hash: decodeId(transaction.hash),
    priorHash: decodeId(transaction.priorHash),
    executorPublicKey: decodeId(transaction.executorPublicKey),
    events: eventsBytes(transaction.events),
    changes: changesBytes(transaction.changes),
  };
  return portableSha256(sealedBytes(fields, priorSeal));
}

/** The proof does not hold. */
class ProofError extends Error {
  override readonly name = 'ProofError';
}

function demand(holds: boolean, reason: string): void {
  if (!holds) throw new ProofError(reason);
}

function judged<T extends object>(judge: () => T): Verdict<T> {
  try {
    return { isValid: true, ...judge() };
  } catch (error) {
    if (error instanceof ProofError || error instanceof ProofFormatError) {
      return { isValid: false, reason: error.message };
    }
    throw error;
  }
}
