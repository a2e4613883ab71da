import type { ApplicationEvent, StateChange } from '#shared/domain/transaction.ts';
import { assert } from '#shared/util/assert.ts';
import { CanonicalWriter } from './canonical-writer.ts';

type Text = string | Uint8Array;

/**
 * Everything a seal covers besides the previous seal, as near to bytes as it is at hand: texts may
 * be UTF-8, events and changes are encoded. Rows of the log are sealed without being decoded.
 */
export interface SealedFields {
  readonly contextId: Uint8Array;
  readonly sequence: bigint;
  readonly hash: Uint8Array;
  readonly priorHash: Uint8Array;
  readonly kind: Text;
  readonly method: Text;
  readonly payload: Uint8Array;
  readonly executorPublicKey: Uint8Array;
  readonly principal: Text;
  readonly requestId: Text | null;
  readonly timeNs: bigint;
  readonly randomSeed: Uint8Array;
  readonly executionVersion: number;
  readonly fuelLimit: bigint;
  readonly status: Text;
  readonly output: Uint8Array | null;
  readonly error: Text | null;
  readonly events: Uint8Array;
  readonly changes: Uint8Array;
  readonly rootHash: Uint8Array | null;
  readonly artifact: Uint8Array | null;
  readonly fuelUsed: bigint;
}

/** Versions of the encoding below: its first byte. */
const SEAL_VERSION = { unmetered: 1, metered: 2 } as const;
const ID_BYTES = 32;

const sealed = new CanonicalWriter();
const eventList = new CanonicalWriter();
const changeList = new CanonicalWriter();

/**
 * What the seal of a transaction is the SHA-256 of, valid until the next call. The types are those
 * of [CanonicalWriter](canonical-writer.ts).
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
export function sealedBytes(fields: SealedFields, previousSeal: Uint8Array): Uint8Array {
  assert(previousSeal.length === ID_BYTES, 'a seal has 32 bytes');
  const { executionVersion } = fields;
  const isMetered = executionVersion > 0;
  sealed.start();
  sealed.u8(isMetered ? SEAL_VERSION.metered : SEAL_VERSION.unmetered);
  sealed.raw(previousSeal);
  sealed.raw(fields.contextId);
  sealed.u64(fields.sequence);
  sealed.raw(fields.hash);
  sealed.raw(fields.priorHash);
  sealed.text(fields.kind);
  sealed.text(fields.method);
  sealed.bytes(fields.payload);
  sealed.raw(fields.executorPublicKey);
  sealed.text(fields.principal);
  sealed.optionalText(fields.requestId);
  sealed.u64(fields.timeNs);
  sealed.bytes(fields.randomSeed);
  sealed.u64(fields.fuelLimit);
  sealed.text(fields.status);
  sealed.optionalBytes(fields.output);
  sealed.optionalText(fields.error);
  sealed.bytes(fields.events);
  sealed.bytes(fields.changes);
  sealed.optionalBytes(fields.rootHash);
  sealed.optionalBytes(fields.artifact);
  sealed.u64(fields.fuelUsed);
  if (isMetered) sealed.u32(executionVersion);
  return sealed.finish();
}

/** The encoding of events, valid until the next call. */
export function eventsBytes(events: readonly ApplicationEvent[]): Uint8Array {
  eventList.start();
  eventList.u32(events.length);
  for (const { kind, data } of events) {
    eventList.text(kind);
    eventList.bytes(data);
  }
  return eventList.finish();
}

/** The encoding of a state diff, valid until the next call. */
export function changesBytes(changes: readonly StateChange[]): Uint8Array {
  changeList.start();
  changeList.u32(changes.length);
  for (const { key, value } of changes) {
    changeList.bytes(key);
    changeList.optionalBytes(value);
  }
  return changeList.finish();
}
