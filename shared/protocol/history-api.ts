import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import { decodeUpgrade } from './upgrade.ts';

/**
 * How the Admin API shows logs and states. Sequences, nanoseconds and fuel are decimal strings.
 * Keys, seals and seeds are lower-case hex, hashes and ids base58 as everywhere, all other bytes
 * base64 with what they say beside it where that can be read.
 */

const SEQUENCE_MAX = 2n ** 63n - 1n;
const ITEMS_MAX = 10_000;
/** Nobody reads more, and parsing it would cost more than it tells. */
const READABLE_BYTES_MAX = 65_536;
/** Clients refuse JSON that is nested much deeper. */
const DEPTH_MAX = 32;
const KEY_BYTES = 32;

const sequence = z
  .string()
  .regex(/^(0|[1-9]\d{0,18})$/, 'a sequence is a decimal number')
  .transform(BigInt)
  .refine((number) => number <= SEQUENCE_MAX, 'beyond any sequence');
const limit = z
  .string()
  .regex(/^[1-9]\d{0,8}$/, 'a limit is a number from 1 to 999999999')
  .transform(Number);
const key = z
  .string()
  .regex(/^[0-9a-f]{64}$/, 'a key is 64 lower-case hex digits')
  .transform(latin1Of);
const prefix = z
  .string()
  .regex(/^([0-9a-f]{2}){0,32}$/, 'a prefix is up to 32 bytes in lower-case hex')
  .transform(latin1Of);
const keys = { prefix: prefix.optional(), after: key.optional(), limit: limit.optional() };

export const logQuerySchema = z.strictObject({
  /** The first one: 1, or the head when the newest come first. */
  from: sequence.optional(),
  limit: limit.optional(),
  order: z.enum(['oldest', 'newest']).optional(),
});
export const stateQuerySchema = z.strictObject({ at: sequence.optional(), ...keys });
export const diffQuerySchema = z.strictObject({ from: sequence, to: sequence.optional(), ...keys });
export const historyQuerySchema = z.strictObject({
  key,
  at: sequence.optional(),
  limit: limit.optional(),
});
/** How many items one JSON answer has: what was asked for within bounds, or `usual`. */
export function limitOf(asked: number | undefined, usual: number): number {
  return Math.min(asked ?? usual, ITEMS_MAX);
}

const id = z.string();
const decimal = z.string().regex(/^\d+$/);
const hex = z.string().regex(/^[0-9a-f]*$/);
const bytes = z.object({
  base64: z.base64(),
  /** For reading: numbers beyond 2^53 are rounded. */
  json: z.unknown().optional(),
  text: z.string().optional(),
});
const named = { key: hex, keyText: z.string().optional() };

export const loggedSchema = z.object({
  /** The context that the transaction was made in: of a fork's first ones, a parent. */
  contextId: id,
  sequence: decimal,
  hash: id,
  priorHash: id,
  seal: hex,
  kind: z.string(),
  method: z.string(),
  payload: bytes,
  executorPublicKey: id,
  principal: z.string(),
  requestId: z.string().nullable(),
  time: z.iso.datetime(),
  timeNs: decimal,
  randomSeed: hex,
  executionVersion: z.int(),
  fuelLimit: decimal,
  fuelUsed: decimal,
  status: z.enum(['ok', 'failed']),
  output: bytes.nullable(),
  error: z.string().nullable(),
  rootHash: z.string().nullable(),
  artifact: bytes.nullable(),
  events: z.array(z.object({ kind: z.string(), data: bytes })),
  changes: z.array(z.object({ ...named, value: bytes.nullable() })),
});
export const entrySchema = z.object({ ...named, value: bytes });
export const differenceSchema = z.object({
  kind: z.enum(['added', 'changed', 'removed']),
  ...named,
  old: bytes.nullable(),
  new: bytes.nullable(),
});
export const keyChangeSchema = z.object({
  contextId: id,
  sequence: decimal,
  hash: id,
  time: z.iso.datetime(),
  timeNs: decimal,
  kind: z.string(),
  method: z.string(),
  executorPublicKey: id,
  principal: z.string(),
  old: bytes.nullable(),
  new: bytes.nullable(),
});

/** A transaction; its lists are made as they are written. */
export function loggedAnswer(transaction: Transaction) {
  const { contextId, sequence, hash, priorHash, seal, kind, method, payload } = transaction;
  const { executorPublicKey, principal, requestId, timeNs, randomSeed } = transaction;
  const { executionVersion, fuelLimit, fuelUsed, status, output, error, rootHash, artifact } =
    transaction;
  return {
    contextId,
    sequence: sequence.toString(),
    hash,
    priorHash,
    seal: hexOf(seal),
    kind,
    method,
    payload:
      kind === 'upgrade'
        ? { ...bytesAnswer(payload), json: decodeUpgrade(payload) }
        : bytesAnswer(payload),
    executorPublicKey,
    principal,
    requestId,
    ...timeAnswer(timeNs),
    randomSeed: hexOf(randomSeed),
    executionVersion,
    fuelLimit: fuelLimit.toString(),
    fuelUsed: fuelUsed.toString(),
    status,
    output: bytesOrNull(output),
    error,
    rootHash: rootHash === null ? null : encodeBase58(rootHash),
    artifact: bytesOrNull(artifact),
    events: transaction.events
      .values()
      .map((event) => ({ kind: event.kind, data: bytesAnswer(event.data) })),
    changes: transaction.changes
      .values()
      .map(({ key, value }) => ({ ...keyAnswer(latin1(key)), value: bytesOrNull(value) })),
  };
}

/** `key` is latin1 text, here and below. */
export function entryAnswer(key: string, value: Uint8Array) {
  return { ...keyAnswer(key), value: bytesAnswer(value) };
}

export function differenceAnswer(difference: {
  readonly key: string;
  readonly before: Uint8Array | null;
  readonly after: Uint8Array | null;
}) {
  const { key, before, after } = difference;
  const kind = before === null ? 'added' : after === null ? 'removed' : 'changed';
  return { kind, ...keyAnswer(key), old: bytesOrNull(before), new: bytesOrNull(after) };
}

export function keyAnswer(key: string) {
  const bytes = Buffer.from(key, 'latin1');
  const text = textOf(bytes.subarray(0, endOf(bytes)));
  return { key: bytes.toString('hex'), ...(text === null || text === '' ? {} : { keyText: text }) };
}

export function timeAnswer(timeNs: bigint) {
  const time = new Date(Number(timeNs / 1_000_000n)).toISOString();
  return { time, timeNs: timeNs.toString() };
}

export function bytesOrNull(value: Uint8Array | null) {
  return value === null ? null : bytesAnswer(value);
}

function bytesAnswer(value: Uint8Array) {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  const base64 = bytes.toString('base64');
  const text = bytes.length > READABLE_BYTES_MAX ? null : textOf(bytes);
  if (text === null) return { base64 };
  try {
    const json: unknown = JSON.parse(text);
    if (isShallow(json, DEPTH_MAX)) return { base64, json };
  } catch {
    // It is a text then.
  }
  return { base64, text };
}

function isShallow(value: unknown, left: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return left > 0 && Object.values(value).every((inner) => isShallow(inner, left - 1));
}

/** Null unless it can be shown: UTF-8 without control characters but for tab and line ends. */
function textOf(bytes: Buffer): string | null {
  if (!isUtf8(bytes)) return null;
  const text = bytes.toString();
  return /^[^\p{Cc}]*$/u.test(text.replaceAll(/[\t\r\n]/g, '')) ? text : null;
}

/** Where the zeros begin that a short key is filled up with. */
function endOf(bytes: Buffer): number {
  let end = Math.min(bytes.length, KEY_BYTES);
  while (end > 0 && bytes[end - 1] === 0) end -= 1;
  return end;
}

function hexOf(value: Uint8Array): string {
  return Buffer.from(value).toString('hex');
}

function latin1(value: Uint8Array): string {
  return Buffer.from(value).toString('latin1');
}

function latin1Of(text: string): string {
  return Buffer.from(text, 'hex').toString('latin1');
}
