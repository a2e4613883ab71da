import { decodeId } from '#shared/crypto/base58.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import type { LogNotice } from './log-notice.ts';

/** Which generation of Calimero's events is sent; `both` sends all four. */
export type EventDialect = 'a' | 'b' | 'both';

/** An id is echoed exactly, also above 2^53. */
export type FrameId = bigint | null;

/** Where a subscriber of one context stands: it has seen everything up to `sequence`. */
export interface SincePosition {
  readonly sequence: bigint;
  /** Hash at that sequence, when the subscriber wants to be told about a fork. */
  readonly hash: string | null;
}

/**
 * A text frame of a client. `ignored` frames get no answer (contract section 5.1), `invalid` ones
 * a ParseError.
 */
export type ClientFrame =
  | { readonly kind: 'ignored' }
  | { readonly kind: 'invalid'; readonly id: FrameId; readonly reason: string }
  | {
      readonly kind: 'subscribe';
      readonly id: FrameId;
      readonly contextIds: readonly ContextId[];
      readonly since: ReadonlyMap<ContextId, SincePosition>;
    }
  | {
      readonly kind: 'unsubscribe';
      readonly id: FrameId;
      readonly contextIds: readonly ContextId[];
    };

export type FrameError =
  | { readonly type: 'ParseError'; readonly data: string }
  | { readonly type: 'InternalError'; readonly data: { readonly reason: string } }
  | { readonly type: 'Unauthorized'; readonly data: { readonly contextId: ContextId } }
  | {
      readonly type: 'ResyncRequired';
      readonly data: { readonly contextId: ContextId; readonly sequence: string };
    };

const U64_MAX = 2n ** 64n - 1n;
const SEQUENCE_MAX = 2n ** 63n - 1n;

/** Reads a client's text frame. Never throws. */
export function parseClientFrame(text: string): ClientFrame {
  const message = parseObject(text);
  const id = message === null ? undefined : parseId(message['id']);
  if (message === null || id === undefined) return { kind: 'ignored' };
  try {
    const { method, params } = message;
    if (method === undefined) throw new FrameFault('missing field `method`');
    if (method !== 'subscribe' && method !== 'unsubscribe') {
      throw new FrameFault(
        typeof method === 'string'
          ? `unknown variant \`${method}\`, expected \`subscribe\` or \`unsubscribe\``
          : 'invalid type: expected variant identifier',
      );
    }
    if (params === undefined) throw new FrameFault('missing field `params`');
    if (!isObject(params)) throw new FrameFault('invalid type: expected an object as `params`');
    const contextIds = parseContextIds(params['contextIds'] ?? params['applicationIds']);
    if (method === 'unsubscribe') return { kind: 'unsubscribe', id, contextIds };
    return { kind: 'subscribe', id, contextIds, since: parseSince(params['since'], contextIds) };
  } catch (error) {
    if (error instanceof FrameFault) return { kind: 'invalid', id, reason: error.message };
    throw error;
  }
}

export function encodeEcho(id: FrameId, contextIds: readonly ContextId[]): string {
  return `{"id":${id},"result":${JSON.stringify({ contextIds })}}`;
}

export function encodeError(id: FrameId, error: FrameError): string {
  return `{"id":${id},"error":${JSON.stringify(error)}}`;
}

/**
 * The event frames of one transaction, in order; `"id":null` is written out because clients drop
 * frames without it. May be empty: dialect `b` says nothing about a failed transaction.
 */
export function encodeEvents(notice: LogNotice, dialect: EventDialect): readonly string[] {
  const frames: string[] = [];
  const isRun = notice.kind !== 'delete';
  const events = notice.events.map(({ kind, data }) => ({ kind, data: Array.from(data) }));
  if (dialect !== 'b') {
    frames.push(encodeEvent(notice, 'TransactionExecuted', { hash: notice.hash }));
    if (isRun) frames.push(encodeEvent(notice, 'OutcomeEvent', { events }));
  }
  if (dialect !== 'a') {
    const newRoot = notice.rootHash ?? (notice.changed ? notice.hash : null);
    if (newRoot !== null) frames.push(encodeEvent(notice, 'StateMutation', { newRoot }));
    if (isRun && notice.status === 'ok') {
      frames.push(encodeEvent(notice, 'ExecutionEvent', { events }));
    }
  }
  return frames;
}

function encodeEvent(notice: LogNotice, type: string, data: object): string {
  const { contextId, hash } = notice;
  const sequence = notice.sequence.toString();
  return JSON.stringify({ id: null, result: { contextId, type, data, sequence, hash } });
}

class FrameFault extends Error {}

class RawNumber {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

type JsonObject = Readonly<Record<string, unknown>>;

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Numbers named `id` keep their source text, so that a u64 is not rounded. */
function parseObject(text: string): JsonObject | null {
  const revive = (key: string, value: unknown, context?: { source?: string }) =>
    key === 'id' && typeof value === 'number' ? new RawNumber(context?.source ?? '') : value;
  try {
    const value: unknown = JSON.parse(text, revive);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** Undefined when it is neither absent, null nor a u64. */
function parseId(id: unknown): FrameId | undefined {
  if (id === undefined || id === null) return null;
  if (!(id instanceof RawNumber) || !/^(0|[1-9]\d{0,19})$/.test(id.source)) return undefined;
  const value = BigInt(id.source);
  return value <= U64_MAX ? value : undefined;
}

function parseContextIds(list: unknown): readonly ContextId[] {
  if (list === undefined) throw new FrameFault('missing field `contextIds`');
  if (!Array.isArray(list)) throw new FrameFault('invalid type: expected a sequence');
  return list.map(parseContextId);
}

function parseContextId(id: unknown): ContextId {
  if (typeof id !== 'string') {
    throw new FrameFault('invalid type: expected a base58 encoded hash');
  }
  try {
    decodeId(id);
  } catch (error) {
    throw new FrameFault(error instanceof Error ? error.message : 'invalid id');
  }
  return id as ContextId;
}

function parseSince(
  since: unknown,
  contextIds: readonly ContextId[],
): ReadonlyMap<ContextId, SincePosition> {
  if (since === undefined || since === null) return new Map();
  if (!isObject(since)) throw new FrameFault('invalid type: expected an object as `since`');
  const known = new Set<string>(contextIds);
  return new Map(
    Object.entries(since).map(([key, value]) => {
      if (!known.has(key)) throw new FrameFault(`\`since\` names ${key}, \`contextIds\` does not`);
      return [key as ContextId, parsePosition(value)];
    }),
  );
}

function parsePosition(value: unknown): SincePosition {
  const { sequence, hash = null } = isObject(value) ? value : { sequence: value };
  if (typeof sequence !== 'string' || !/^\d{1,19}$/.test(sequence)) {
    throw new FrameFault('a position in `since` is a decimal string or {"sequence","hash"}');
  }
  if (BigInt(sequence) > SEQUENCE_MAX) throw new FrameFault('`since` is beyond any sequence');
  if (hash !== null && typeof hash !== 'string') {
    throw new FrameFault('a `hash` in `since` is a string');
  }
  return { sequence: BigInt(sequence), hash };
}
