import type { ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';
import { CanonicalWriter } from './canonical-writer.ts';

/** The fields of a transaction that its hash covers, in the order in which it does. */
export interface HashedFields {
  readonly contextId: ContextId;
  readonly method: string;
  readonly payload: Uint8Array;
  readonly priorHash: TransactionHash;
  /** Absent in the oldest form of the dialect. */
  readonly executorPublicKey?: PublicKey;
}

const hashed = new CanonicalWriter();

/**
 * What the Calimero transaction hash is the SHA-256 of, valid until the next call: compact JSON of
 * `context_id`, `method`, `payload` (an array of numbers), `prior_hash` and `executor_public_key`.
 */
export function hashedBytes(fields: HashedFields): Uint8Array {
  const { contextId, method, payload, priorHash, executorPublicKey } = fields;
  hashed.start();
  hashed.utf8(`{"context_id":"${contextId}","method":${JSON.stringify(method)},"payload":[`);
  hashed.decimals(payload);
  hashed.utf8(`],"prior_hash":"${priorHash}"`);
  if (executorPublicKey !== undefined) {
    hashed.utf8(`,"executor_public_key":"${executorPublicKey}"`);
  }
  hashed.utf8('}');
  return hashed.finish();
}
