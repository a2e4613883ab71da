import { recentId } from '#shared/crypto/base58.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import type { ApplicationEvent, StateChange, Transaction } from '#shared/domain/transaction.ts';
import { assert } from '#shared/util/assert.ts';

/** Everything a seal covers besides the previous seal. */
export type Unsealed = Omit<Transaction, 'seal'>;

/** Versions of the encoding below: its first byte. */
const SEAL_VERSION = { unmetered: 1, metered: 2 } as const;
const ABSENT = 0;
const PRESENT = 1;
const ID_BYTES = 32;

/**
 * The seal of a transaction: SHA-256 over this canonical encoding. Integers are big-endian, `bytes` is a u32 length and that many bytes, `text` is `bytes` of its UTF-8,
 * `optional x` is one byte 0, or one byte 1 and then x.
 *
 * | field                | encoding       | field       | encoding                               |
 * | -------------------- | -------------- | ----------- | -------------------------------------- |
 * | version              | u8, 1 or 2     | time ns     | u64                                    |
 * | previous seal        | 32 bytes       | random seed | bytes                                  |
 * | context id           | 32 bytes       | fuel limit  | u64                                    |
 * | sequence             | u64            | status      | text                                   |
 * | hash                 | 32 bytes       | output      | optional bytes                         |
 * | prior hash           | 32 bytes       | error       | optional text                          |
 * | kind                 | text           | events      | bytes: u32 count, (text kind, bytes data)* |
 * | method               | text           | changes     | bytes: u32 count, (bytes key, optional bytes value)* |
 * | payload              | bytes          | root hash   | optional bytes                         |
 * | executor public key  | 32 bytes       | artifact    | optional bytes                         |
 * | principal            | text           | fuel used   | u64                                    |
 * | request id           | optional text  | execution version | u32, in version 2 only           |
 *
 * Version 1 seals what ran before metering: execution version 0, which it does not hold.
 * The previous seal of a context's first transaction is 32 zero bytes.
 */
export function sealTransaction(transaction: Unsealed, previousSeal: Uint8Array): Uint8Array {
  assert(previousSeal.length === ID_BYTES, 'a seal has 32 bytes');
  const { executionVersion } = transaction;
  const isMetered = executionVersion > 0;
  const writer = new Writer();
  writer.u8(isMetered ? SEAL_VERSION.metered : SEAL_VERSION.unmetered);
  writer.raw(previousSeal);
  writer.raw(recentId(transaction.contextId));
  writer.u64(transaction.sequence);
  writer.raw(recentId(transaction.hash));
  writer.raw(recentId(transaction.priorHash));
  writer.text(transaction.kind);
  writer.text(transaction.method);
  writer.bytes(transaction.payload);
  writer.raw(recentId(transaction.executorPublicKey));
  writer.text(transaction.principal);
  writer.optional(transaction.requestId, (text) => writer.text(text));
  writer.u64(transaction.timeNs);
  writer.bytes(transaction.randomSeed);
  writer.u64(transaction.fuelLimit);
  writer.text(transaction.status);
  writer.optional(transaction.output, (bytes) => writer.bytes(bytes));
  writer.optional(transaction.error, (text) => writer.text(text));
  writer.bytes(encodeEvents(transaction.events));
  writer.bytes(encodeChanges(transaction.changes));
  writer.optional(transaction.rootHash, (bytes) => writer.bytes(bytes));
  writer.optional(transaction.artifact, (bytes) => writer.bytes(bytes));
  writer.u64(transaction.fuelUsed);
  if (isMetered) writer.u32(executionVersion);
  return sha256(writer.finish());
}

/** The `events` column: u32 count, then for each `text` kind and `bytes` data. */
export function encodeEvents(events: readonly ApplicationEvent[]): Buffer {
  const writer = new Writer();
  writer.u32(events.length);
  for (const { kind, data } of events) {
    writer.text(kind);
    writer.bytes(data);
  }
  return writer.finish();
}

export function decodeEvents(encoded: Buffer): ApplicationEvent[] {
  const reader = new Reader(encoded);
  return reader.list(() => ({ kind: reader.bytes().toString(), data: reader.bytes() }));
}

/** The `changes` column: u32 count, then for each `bytes` key and `optional bytes` value. */
export function encodeChanges(changes: readonly StateChange[]): Buffer {
  const writer = new Writer();
  writer.u32(changes.length);
  for (const { key, value } of changes) {
    writer.bytes(key);
    writer.optional(value, (bytes) => writer.bytes(bytes));
  }
  return writer.finish();
}

export function decodeChanges(encoded: Buffer): StateChange[] {
  const reader = new Reader(encoded);
  return reader.list(() => ({
    key: reader.bytes(),
    value: reader.u8() === PRESENT ? reader.bytes() : null,
  }));
}

const FIRST_BYTES = 1_024;

/** Grows by doubling, so that an encoding is written once into one buffer. */
class Writer {
  #buffer = Buffer.allocUnsafe(FIRST_BYTES);
  #length = 0;

  u8(value: number): void {
    this.#reserve(1);
    this.#length = this.#buffer.writeUInt8(value, this.#length);
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32BE(value, this.#length);
  }

  u64(value: bigint): void {
    this.#reserve(8);
    this.#length = this.#buffer.writeBigUInt64BE(value, this.#length);
  }

  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  bytes(bytes: Uint8Array): void {
    this.u32(bytes.length);
    this.raw(bytes);
  }

  text(text: string): void {
    const length = Buffer.byteLength(text);
    this.u32(length);
    this.#reserve(length);
    this.#length += this.#buffer.write(text, this.#length);
  }

  optional<T>(value: T | null, write: (value: T) => void): void {
    this.u8(value === null ? ABSENT : PRESENT);
    if (value !== null) write(value);
  }

  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(length: number): void {
    if (this.#length + length <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + length));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

class Reader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
  }

  u8(): number {
    this.#at += 1;
    return this.#buffer.readUInt8(this.#at - 1);
  }

  u32(): number {
    this.#at += 4;
    return this.#buffer.readUInt32BE(this.#at - 4);
  }

  bytes(): Buffer {
    const length = this.u32();
    this.#at += length;
    assert(this.#at <= this.#buffer.length, 'an encoding holds what it says');
    return this.#buffer.subarray(this.#at - length, this.#at);
  }

  list<T>(read: () => T): T[] {
    const items: T[] = [];
    for (let left = this.u32(); left > 0; left -= 1) items.push(read());
    return items;
  }
}
