import type { ByteWriter } from '#shared/util/byte-writer.ts';

/** Type OIDs of pg_type. */
const BOOL_OID = 16;
const BYTEA_OID = 17;
const INT8_OID = 20;
const INT4_OID = 23;
const TEXT_OID = 25;

/**
 * Begins a composite in Postgres' binary format, as an element of an array of them; its fields
 * follow, and then `patchLength` of what this returns. Layout (record_send): i32 byte length, i32
 * fields, then per field i32 type OID, i32 byte length (−1 for null) and its bytes.
 */
export function openRecord(writer: ByteWriter, fields: number): number {
  const start = writer.length;
  writer.i32(0);
  writer.i32(fields);
  return start;
}

export function int8Field(writer: ByteWriter, value: bigint): void {
  writer.i32(INT8_OID);
  writer.i32(8);
  writer.i64(value);
}

export function int4Field(writer: ByteWriter, value: number): void {
  writer.i32(INT4_OID);
  writer.i32(4);
  writer.i32(value);
}

export function boolField(writer: ByteWriter, value: boolean): void {
  writer.i32(BOOL_OID);
  writer.i32(1);
  writer.u8(value ? 1 : 0);
}

export function byteaField(writer: ByteWriter, value: Uint8Array | null): void {
  writer.i32(BYTEA_OID);
  writer.bytes(value);
}

export function textField(writer: ByteWriter, value: string | null): void {
  writer.i32(TEXT_OID);
  writer.text(value);
}
