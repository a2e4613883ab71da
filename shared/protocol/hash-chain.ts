import { encodeId } from '#shared/crypto/base58.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import type { ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';

/** The fields of a transaction that its hash covers, in the order in which it does. */
export interface HashedFields {
  readonly contextId: ContextId;
  readonly method: string;
  readonly payload: Uint8Array;
  readonly priorHash: TransactionHash;
  /** Absent in the oldest form of the dialect. */
  readonly executorPublicKey?: PublicKey;
}

const DECIMALS = Array.from({ length: 256 }, (_, byte) => `${byte},`);

/**
 * The Calimero transaction hash: base58 of SHA-256 over compact JSON of `context_id`, `method`,
 * `payload` (an array of numbers), `prior_hash` and `executor_public_key`.
 */
export function transactionHash(fields: HashedFields): TransactionHash {
  const { contextId, method, payload, priorHash, executorPublicKey } = fields;
  let numbers = '';
  for (let i = 0; i < payload.length; i += 1) numbers += DECIMALS[payload[i] ?? 0];
  const executor =
    executorPublicKey === undefined ? '' : `,"executor_public_key":"${executorPublicKey}"`;
  const json = `{"context_id":"${contextId}","method":${JSON.stringify(method)},"payload":[${numbers.slice(0, -1)}],"prior_hash":"${priorHash}"${executor}}`;
  return encodeId(sha256(json)) as TransactionHash;
}
