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

const FIRST_BYTES = 4_096;
/** Memory above this is not kept for the next. */
const SCRATCH_BYTES_MAX = 1_048_576;
/** The longest form of a byte: three digits and a comma. */
const DECIMAL_BYTES = 4;
/** The longest UTF-8 of a UTF-16 code unit. */
const CHAR_BYTES = 3;
const ZERO = 0x30;
const COMMA = 0x2c;
/** Where the text that is hashed is written, in turn. */
let scratch = Buffer.allocUnsafeSlow(FIRST_BYTES);

/**
 * The Calimero transaction hash: base58 of SHA-256 over compact JSON of `context_id`, `method`,
 * `payload` (an array of numbers), `prior_hash` and `executor_public_key`.
 */
export function transactionHash(fields: HashedFields): TransactionHash {
  const { contextId, method, payload, priorHash, executorPublicKey } = fields;
  const executor =
    executorPublicKey === undefined ? '' : `,"executor_public_key":"${executorPublicKey}"`;
  const before = `{"context_id":"${contextId}","method":${JSON.stringify(method)},"payload":[`;
  const after = `],"prior_hash":"${priorHash}"${executor}}`;
  const needed = (before.length + after.length) * CHAR_BYTES + payload.length * DECIMAL_BYTES;
  const buffer = needed > scratch.length ? Buffer.allocUnsafeSlow(needed) : scratch;
  if (needed <= SCRATCH_BYTES_MAX) scratch = buffer;
  let at = buffer.write(before);
  at = writeDecimals(buffer, at, payload);
  at += buffer.write(after, at);
  return encodeId(sha256(buffer.subarray(0, at))) as TransactionHash;
}

/** The bytes as decimal numbers with commas between them; returns where they end. */
function writeDecimals(buffer: Buffer, start: number, bytes: Uint8Array): number {
  let at = start;
  for (let i = 0; i < bytes.length; i += 1) {
    const byte = bytes[i] ?? 0;
    if (i > 0) buffer[at++] = COMMA;
    if (byte >= 100) buffer[at++] = ZERO + Math.floor(byte / 100);
    if (byte >= 10) buffer[at++] = ZERO + (Math.floor(byte / 10) % 10);
    buffer[at++] = ZERO + (byte % 10);
  }
  return at;
}
