import { decodeId } from '#shared/crypto/base58.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { RPC_METHODS } from './json-rpc-call.ts';
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
  /** Extension: a JSON-RPC 2.0 request, as `/jsonrpc` takes it. */
  | { readonly kind: 'call'; readonly body: string }
  /** Extension: who it is from now on. */
  | { readonly kind: 'authenticate'; readonly id: FrameId; readonly token: string }
  | { readonly kind: 'invalid'; readonly id: FrameId; readonly reason: string }
  | {
      readonly kind: 'subscribe';
      readonly id: FrameId;
      readonly contextIds: readonly ContextId[];
      readonly since: ReadonlyMap<ContextId, SincePosition>;
      readonly kinds: EventKinds;
    }
  | {
      readonly kind: 'unsubscribe';
      readonly id: FrameId;
      readonly contextIds: readonly ContextId[];
    };

/** Extension: the only kinds of application events that are sent, ordered; null sends everything. */
export type EventKinds = readonly string[] | null;

export type FrameError =
  | { readonly type: 'ParseError'; readonly data: string }
  | { readonly type: 'InternalError'; readonly data: { readonly reason: string } }
  | {
      readonly type: 'Unauthorized';
      readonly data: { readonly contextId: ContextId } | { readonly reason: string };
    }
  | {
      readonly type: 'ResyncRequired';
      readonly data: { readonly contextId: ContextId; readonly sequence: string };
    };

const KINDS_MAX = 32;
const KIND_CHARS_MAX = 256;
const TOKEN_CHARS_MAX = 4_096;
const U64_MAX = 2n ** 64n - 1n;
const SEQUENCE_MAX = 2n ** 63n - 1n;

/** Reads a client's text frame. Never throws. */
export function parseClientFrame(text: string): ClientFrame {
  const message = parseObject(text);
  if (message !== null && isCall(message)) return { kind: 'call', body: asCall(message, text) };
  const id = message === null ? undefined : parseId(message['id']);
  if (message === null || id === undefined) return { kind: 'ignored' };
  try {
    return parseRequest(id, message);
  } catch (error) {
    if (error instanceof FrameFault) return { kind: 'invalid', id, reason: error.message };
    throw error;
  }
}

export function encodeEcho(id: FrameId, contextIds: readonly ContextId[]): string {
  return `{"id":${id},"result":${JSON.stringify({ contextIds })}}`;
}

/** Unix time in milliseconds at which the connection ends unless it authenticates again. */
export function encodeAuthenticated(
  id: FrameId,
  principal: string,
  expiresMs: number | null,
): string {
  return `{"id":${id},"result":${JSON.stringify({ principal, expiresMs })}}`;
}

export function encodeError(id: FrameId, error: FrameError): string {
  return `{"id":${id},"error":${JSON.stringify(error)}}`;
}

/**
 * The event frames of one transaction, in order; `"id":null` is written out because clients drop
 * frames without it. May be empty: dialect `b` says nothing about a failed transaction, and who
 * asked for some kinds of events hears of nothing else.
 */
export function encodeEvents(
  notice: LogNotice,
  dialect: EventDialect,
  kinds: EventKinds = null,
): readonly string[] {
  const frames: string[] = [];
  const isRun = notice.kind !== 'delete';
  const wanted =
    kinds === null ? notice.events : notice.events.filter((e) => kinds.includes(e.kind));
  if (kinds !== null && wanted.length === 0) return frames;
  const events = wanted.map(({ kind, data }) => ({ kind, data: Array.from(data) }));
  if (dialect !== 'b') {
    if (kinds === null) {
      frames.push(encodeEvent(notice, 'TransactionExecuted', { hash: notice.hash }));
    }
    if (isRun) frames.push(encodeEvent(notice, 'OutcomeEvent', { events }));
  }
  if (dialect !== 'a') {
    const newRoot = notice.rootHash ?? (notice.changed ? notice.hash : null);
    if (kinds === null && newRoot !== null)
      frames.push(encodeEvent(notice, 'StateMutation', { newRoot }));
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

/** Throws FrameFault. */
function parseRequest(id: FrameId, { method, params }: JsonObject): ClientFrame {
  if (method === undefined) throw new FrameFault('missing field `method`');
  if (method !== 'subscribe' && method !== 'unsubscribe' && method !== 'authenticate') {
    throw new FrameFault(
      typeof method === 'string'
        ? `unknown variant \`${method}\`, expected \`subscribe\` or \`unsubscribe\``
        : 'invalid type: expected variant identifier',
    );
  }
  if (params === undefined) throw new FrameFault('missing field `params`');
  if (!isObject(params)) throw new FrameFault('invalid type: expected an object as `params`');
  if (method === 'authenticate') return { kind: method, id, token: parseToken(params['token']) };
  const contextIds = parseContextIds(params['contextIds'] ?? params['applicationIds']);
  if (method === 'unsubscribe') return { kind: method, id, contextIds };
  const since = parseSince(params['since'], contextIds);
  return { kind: method, id, contextIds, since, kinds: parseKinds(params['kinds']) };
}

/** By method too: calls may be sent without the version, like the other frames. */
function isCall({ jsonrpc, method }: JsonObject): boolean {
  return jsonrpc !== undefined || RPC_METHODS.some((known) => known === method);
}

function asCall({ jsonrpc }: JsonObject, text: string): string {
  return jsonrpc === undefined ? text.replace('{', '{"jsonrpc":"2.0",') : text;
}

function parseToken(token: unknown): string {
  if (token === undefined) throw new FrameFault('missing field `token`');
  if (typeof token !== 'string') throw new FrameFault('invalid type: expected a string as `token`');
  if (token.length > TOKEN_CHARS_MAX) throw new FrameFault('the `token` is too long');
  return token;
}

function parseKinds(kinds: unknown): EventKinds {
  if (kinds === undefined || kinds === null) return null;
  const isList = Array.isArray(kinds) && kinds.length > 0 && kinds.length <= KINDS_MAX;
  const isText = (kind: unknown) => typeof kind === 'string' && kind.length <= KIND_CHARS_MAX;
  if (isList && kinds.every(isText)) return [...new Set<string>(kinds)].sort();
  throw new FrameFault(
    `\`kinds\` is a list of 1 to ${KINDS_MAX} kinds of events, each of at most ${KIND_CHARS_MAX} characters`,
  );
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
