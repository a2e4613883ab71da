import { z } from 'zod';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import type { ContextId, TransactionHash } from '#shared/domain/ids.ts';
import type { ApplicationEvent, Transaction, TransactionKind } from '#shared/domain/transaction.ts';

/** A place in the log of one context: what a head beacon tells of each context that moved. */
export interface LogPosition {
  readonly contextId: ContextId;
  readonly sequence: bigint;
}

/** What the rest of Cairn is told about one committed transaction. */
export interface LogNotice extends LogPosition {
  readonly hash: TransactionHash;
  readonly kind: TransactionKind;
  readonly status: 'ok' | 'failed';
  readonly events: readonly ApplicationEvent[];
  /** Base58 of the root hash that the guest committed; null when it committed none. */
  readonly rootHash: string | null;
  /** True when the transaction changed at least one key. */
  readonly changed: boolean;
}

/**
 * A notice above this size travels as its bare position and is read from the log: NATS refuses
 * messages over 1 MiB by default.
 */
export const NOTICE_BYTES_MAX = 786_432;

export function noticeOf(transaction: Transaction): LogNotice {
  const { contextId, sequence, hash, kind, status, events, rootHash, changes } = transaction;
  return {
    contextId,
    sequence,
    hash,
    kind,
    status,
    events,
    rootHash: rootHash === null ? null : encodeBase58(rootHash),
    changed: changes.length > 0,
  };
}

/** Encodes a notice as JSON; one over `NOTICE_BYTES_MAX` is cut down to its position. */
export function encodeNotice(notice: LogNotice): Uint8Array {
  const { contextId } = notice;
  const sequence = notice.sequence.toString();
  const dataBytes = notice.events.reduce(
    (sum, { data, kind }) => sum + data.length + kind.length,
    0,
  );
  if (dataBytes <= NOTICE_BYTES_MAX) {
    const events = notice.events.map(({ kind, data }) => ({ kind, data: toBase64(data) }));
    const bytes = Buffer.from(JSON.stringify({ ...notice, sequence, events }));
    if (bytes.length <= NOTICE_BYTES_MAX) return bytes;
  }
  return Buffer.from(JSON.stringify({ contextId, sequence }));
}

/** Decodes what `encodeNotice` made. Throws when the bytes are anything else. */
export function decodeNotice(bytes: Uint8Array): LogNotice | LogPosition {
  return messageSchema.parse(JSON.parse(toText(bytes))) as LogNotice | LogPosition;
}

/** False for a notice that was too large to travel whole. */
export function isWholeNotice(message: LogNotice | LogPosition): message is LogNotice {
  return 'hash' in message;
}

export function encodeBeacon(heads: readonly LogPosition[]): Uint8Array {
  const entries = heads.map(({ contextId, sequence }) => [contextId, sequence.toString()]);
  return Buffer.from(JSON.stringify(entries));
}

/** Decodes what `encodeBeacon` made. Throws when the bytes are anything else. */
export function decodeBeacon(bytes: Uint8Array): readonly LogPosition[] {
  return beaconSchema
    .parse(JSON.parse(toText(bytes)))
    .map(([contextId, sequence]) => ({ contextId: contextId as ContextId, sequence }));
}

const sequenceSchema = z
  .string()
  .regex(/^\d{1,19}$/)
  .transform(BigInt);

const positionSchema = z.strictObject({ contextId: z.string().min(1), sequence: sequenceSchema });

const noticeSchema = positionSchema.extend({
  hash: z.string(),
  kind: z.enum(['init', 'mutate', 'execute', 'play', 'upgrade', 'fork', 'delete']),
  status: z.enum(['ok', 'failed']),
  events: z.array(
    z.object({
      kind: z.string(),
      data: z.string().transform((text): Uint8Array => Buffer.from(text, 'base64')),
    }),
  ),
  rootHash: z.string().nullable(),
  changed: z.boolean(),
});

const messageSchema = z.union([noticeSchema, positionSchema]);

const beaconSchema = z.array(z.tuple([z.string().min(1), sequenceSchema]));

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString();
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
