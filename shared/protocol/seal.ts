import { recentId } from '#shared/crypto/base58.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import type { ApplicationEvent, StateChange, Transaction } from '#shared/domain/transaction.ts';
import { assert } from '#shared/util/assert.ts';
import { changesBytes, eventsBytes, sealedBytes } from './seal-encoding.ts';

/** Everything a seal covers besides the previous seal. */
export type Unsealed = Omit<Transaction, 'seal'>;

const PRESENT = 1;

/**
 * The seal of a transaction: SHA-256 over the canonical encoding that
 * [seal-encoding.ts](seal-encoding.ts) documents byte by byte.
 */
export function sealTransaction(transaction: Unsealed, previousSeal: Uint8Array): Uint8Array {
  const t = transaction;
  // Each field by name: copying them all with a spread costs as much as the encoding.
  const fields = {
    contextId: recentId(t.contextId),
    sequence: t.sequence,
    hash: recentId(t.hash),
    priorHash: recentId(t.priorHash),
    kind: t.kind,
    method: t.method,
    payload: t.payload,
    executorPublicKey: recentId(t.executorPublicKey),
    principal: t.principal,
    requestId: t.requestId,
    timeNs: t.timeNs,
    randomSeed: t.randomSeed,
    executionVersion: t.executionVersion,
    fuelLimit: t.fuelLimit,
    status: t.status,
    output: t.output,
    error: t.error,
    events: eventsBytes(t.events),
    changes: changesBytes(t.changes),
    rootHash: t.rootHash,
    artifact: t.artifact,
    fuelUsed: t.fuelUsed,
  };
  return sha256(sealedBytes(fields, previousSeal));
}

/** The `events` column: u32 count, then for each `text` kind and `bytes` data. */
export function encodeEvents(events: readonly ApplicationEvent[]): Buffer {
  return Buffer.from(eventsBytes(events));
}

export function decodeEvents(encoded: Buffer): ApplicationEvent[] {
  const reader = new Reader(encoded);
  return reader.list(() => ({ kind: reader.bytes().toString(), data: reader.bytes() }));
}

/** The `changes` column: u32 count, then for each `bytes` key and `optional bytes` value. */
export function encodeChanges(changes: readonly StateChange[]): Buffer {
  return Buffer.from(changesBytes(changes));
}

export function decodeChanges(encoded: Buffer): StateChange[] {
  const reader = new Reader(encoded);
  return reader.list(() => ({
    key: reader.bytes(),
    value: reader.u8() === PRESENT ? reader.bytes() : null,
  }));
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
