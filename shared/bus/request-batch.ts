import { ByteReader } from '#shared/util/byte-reader.ts';
import { ByteWriter } from '#shared/util/byte-writer.ts';
import { assert } from '#shared/util/assert.ts';

/**
 * What requests and answers look like on the bus: one message carries all that one connection has
 * for a subject at the end of a tick, and a payload that is too large for a message is carried in
 * parts. Integers are big-endian.
 *
 * | message | fields |
 * | ------- | ------ |
 * | any     | u8 version 1, f64 milliseconds of the sender's monotonic clock, entries |
 * | entry   | i32 id of the request, u8 kind, i32 number of the part from 0, u8 1 when more follow, f64 ms that a request may still wait, i32 length, bytes |
 */
export interface Entry {
  /** Chosen by who asks, and unique for its connection while the request is under way. */
  readonly id: number;
  readonly kind: EntryKind;
  readonly part: Part;
  /** 0 for an answer. */
  readonly waitMs: number;
  readonly payload: Uint8Array;
}

/** Which part of a payload, from 0; most payloads have one. */
export interface Part {
  readonly index: number;
  readonly hasMore: boolean;
}

/** A request, its answer, or the AppError that it was refused with. */
export type EntryKind = (typeof KINDS)[number];
const KINDS = ['request', 'answer', 'refusal'] as const;

const VERSION = 1;
const HEAD_BYTES = 9;
const ENTRY_HEAD_BYTES = 22;

/** Packs entries into messages of at most `bytesMax`, in order, and sends each with its entries. */
export function writeMessages(
  entries: readonly Omit<Entry, 'part'>[],
  { bytesMax, sentAtMs }: { readonly bytesMax: number; readonly sentAtMs: number },
  send: (message: Uint8Array, first: number, count: number) => void,
): void {
  const room = bytesMax - HEAD_BYTES - ENTRY_HEAD_BYTES;
  assert(room > 0, 'a message has room for an entry');
  const writer = new ByteWriter();
  let first = 0;
  let count = 0;
  const flush = (next: number): void => {
    if (count > 0) send(writer.take(), first, count);
    first = next;
    count = 0;
  };
  const write = (entry: Entry, at: number): void => {
    const size = ENTRY_HEAD_BYTES + entry.payload.length;
    if (count > 0 && writer.length + size > bytesMax) flush(at);
    if (count === 0) {
      writer.u8(VERSION);
      writer.f64(sentAtMs);
    }
    writeEntry(writer, entry);
    count += 1;
  };
  for (const [at, entry] of entries.entries()) {
    const { payload } = entry;
    for (let index = 0; index === 0 || index * room < payload.length; index += 1) {
      const end = (index + 1) * room;
      const part = { index, hasMore: end < payload.length };
      write({ ...entry, payload: payload.subarray(index * room, end), part }, at);
    }
  }
  flush(entries.length);
}

/** Throws when the message is nothing that `writeMessages` made. */
export function readMessage(message: Uint8Array): { sentAtMs: number; entries: Entry[] } {
  const reader = new ByteReader(message);
  assert(reader.u8() === VERSION, 'the message has a version that is known here');
  const sentAtMs = reader.f64();
  const entries: Entry[] = [];
  while (!reader.isAtEnd) {
    const id = reader.i32();
    const kind = KINDS[reader.u8()];
    const part = { index: reader.i32(), hasMore: reader.u8() === 1 };
    const waitMs = reader.f64();
    const payload = reader.someBytes();
    assert(kind !== undefined, 'an entry has a known kind');
    entries.push({ id, kind, part, waitMs, payload });
  }
  return { sentAtMs, entries };
}

function writeEntry(writer: ByteWriter, { id, kind, part, waitMs, payload }: Entry): void {
  writer.i32(id);
  writer.u8(KINDS.indexOf(kind));
  writer.i32(part.index);
  writer.u8(part.hasMore ? 1 : 0);
  writer.f64(waitMs);
  writer.bytes(payload);
}
