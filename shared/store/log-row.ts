import { recentId } from '#shared/crypto/base58.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import { encodeChanges, encodeEvents } from '#shared/protocol/seal.ts';
import { ByteWriter } from '#shared/util/byte-writer.ts';
import { byteaField, int4Field, int8Field, openRecord, textField } from './pg-record.ts';

/** The attributes of the type `log_row`, which are columns of `transactions`, in this order. */
export const LOG_ROW_COLUMNS =
  'context, sequence, hash, seal, prior_hash, root_hash, kind, method, payload, ' +
  'executor_public_key, principal, request_id, time_ns, random_seed, fuel_limit, status, output, ' +
  'error, events, changes, artifact, fuel_used, execution_version';

const COLUMNS = 23;
/** Places of the attributes in front, whose lengths do not differ, in the layout of `openRecord`. */
const FIELDS_AT = 8;
const CONTEXT_AT = 16;
const SEQUENCE_AT = 32;
const HASH_AT = 48;
const SEAL_AT = 88;
const PRIOR_HASH_AT = 128;
const ROOT_HASH_AT = 168;
const HASH_BYTES = 32;

/**
 * Writes a transaction as an element of `log_row[]`: it is laid out where it was executed, and only
 * copied from there on. Its context is 0 until `setContext`.
 */
export function writeLogRow(writer: ByteWriter, transaction: Transaction): void {
  const start = openRecord(writer, COLUMNS);
  int8Field(writer, 0n);
  int8Field(writer, transaction.sequence);
  byteaField(writer, recentId(transaction.hash));
  byteaField(writer, transaction.seal);
  byteaField(writer, recentId(transaction.priorHash));
  byteaField(writer, transaction.rootHash);
  textField(writer, transaction.kind);
  textField(writer, transaction.method);
  byteaField(writer, transaction.payload);
  byteaField(writer, recentId(transaction.executorPublicKey));
  textField(writer, transaction.principal);
  textField(writer, transaction.requestId);
  int8Field(writer, transaction.timeNs);
  byteaField(writer, transaction.randomSeed);
  int8Field(writer, transaction.fuelLimit);
  textField(writer, transaction.status);
  byteaField(writer, transaction.output);
  textField(writer, transaction.error);
  byteaField(writer, encodeEvents(transaction.events));
  byteaField(writer, encodeChanges(transaction.changes));
  byteaField(writer, transaction.artifact);
  int8Field(writer, transaction.fuelUsed);
  int4Field(writer, transaction.executionVersion);
  writer.patchLength(start);
}

export function encodeLogRow(transaction: Transaction): Buffer {
  const writer = new ByteWriter();
  writeLogRow(writer, transaction);
  return writer.take();
}

/** `contextKey`: surrogate of the context, which only the database knows at first. */
export function setContext(row: Buffer, contextKey: bigint): void {
  row.writeBigInt64BE(contextKey, CONTEXT_AT);
}

export function sequenceOf(row: Buffer): bigint {
  return row.readBigInt64BE(SEQUENCE_AT);
}

export function hashOf(row: Buffer): Buffer {
  return row.subarray(HASH_AT, HASH_AT + HASH_BYTES);
}

export function priorHashOf(row: Buffer): Buffer {
  return row.subarray(PRIOR_HASH_AT, PRIOR_HASH_AT + HASH_BYTES);
}

export function sealOf(row: Buffer): Buffer {
  return row.subarray(SEAL_AT, SEAL_AT + HASH_BYTES);
}

/** Context, sequence, hash and seal, as the fields of a record that they are. */
export function headFieldsOf(row: Buffer): Buffer {
  return row.subarray(FIELDS_AT, SEAL_AT + HASH_BYTES);
}

/** What the guest committed, or null. */
export function rootHashOf(row: Buffer): Buffer | null {
  const isAbsent = row.readInt32BE(ROOT_HASH_AT - 4) === -1;
  return isAbsent ? null : row.subarray(ROOT_HASH_AT, ROOT_HASH_AT + HASH_BYTES);
}
