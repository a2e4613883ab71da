import { AppError } from '#shared/domain/app-error.ts';
import type { LogNotice } from './log-notice.ts';
import {
  type ClientFrame,
  encodeEvents,
  type EventDialect,
  type EventKinds,
  parseClientFrame,
} from './websocket.ts';

/**
 * Server-sent events of the Calimero dialect (contract section 5.2), with ids that carry a position.
 *
 * An id is `<session>-<n>`; upstream's `n` counts. Here it is `0`, which is where the session stood
 * when its stream began, or `<slot>.<sequence>` for each context that moved since, joined by `_`: who
 * has the last id can be served what follows by any replica, without a gap or a duplicate.
 */
export type SsePosition = ReadonlyMap<number, bigint>;

const ID_CHARS_MAX = 8_192;
const SESSION_ID = /^[1-9A-HJ-NP-Za-km-z]{10,64}$/;

/** All frames of a transaction but for the id, and the empty line, that end the last one. */
export function encodeSseEvents(
  notice: LogNotice,
  dialect: EventDialect,
  kinds: EventKinds,
): readonly string[] {
  // Their data is the same object, without the id of a request that there is none of.
  return encodeEvents(notice, dialect, kinds).map(
    (frame) => `data: ${frame.replace('"id":null,', '')}\n`,
  );
}

export function encodeSseId(sessionId: string, position: SsePosition): string {
  const parts = [...position].map(([slot, sequence]) => `${slot}.${sequence}`);
  return `${sessionId}-${parts.length === 0 ? '0' : parts.join('_')}`;
}

/** Null for an id that no stream of ours sent. */
export function parseSseId(
  id: string,
): { readonly sessionId: string; readonly position: SsePosition } | null {
  const at = id.lastIndexOf('-');
  const sessionId = id.slice(0, at);
  if (id.length > ID_CHARS_MAX || !isSseSessionId(sessionId)) return null;
  const text = id.slice(at + 1);
  if (/^\d+$/.test(text)) return { sessionId, position: new Map() };
  const position = new Map<number, bigint>();
  for (const part of text.split('_')) {
    const [, slot, sequence] = /^(\d{1,9})\.(\d{1,18})$/.exec(part) ?? [];
    if (slot === undefined || sequence === undefined) return null;
    position.set(Number(slot), BigInt(sequence));
  }
  return { sessionId, position };
}

export function isSseSessionId(text: string): boolean {
  return SESSION_ID.test(text);
}

export type SseRequest = { readonly sessionId: string } & Extract<
  ClientFrame,
  { kind: 'subscribe' | 'unsubscribe' }
>;

/**
 * Reads the body of `POST /sse/subscription`: what a WebSocket takes, with the session as its id.
 * Throws AppError `invalid_request`, and `not_found` for what can be no session.
 */
export function parseSseRequest(body: string): SseRequest {
  let message: unknown;
  try {
    message = JSON.parse(body);
  } catch {
    throw new AppError('invalid_request', 'Failed to parse the request body as JSON');
  }
  const { id, ...rest } = (message ?? {}) as { id?: unknown };
  if (typeof id !== 'string' || !isSseSessionId(id)) {
    throw new AppError('invalid_request', 'Invalid session id');
  }
  const frame = parseClientFrame(JSON.stringify({ ...rest, id: 0 }));
  if (frame.kind === 'subscribe' || frame.kind === 'unsubscribe')
    return { ...frame, sessionId: id };
  const reason = frame.kind === 'invalid' ? frame.reason : 'expected `subscribe` or `unsubscribe`';
  throw new AppError('invalid_request', reason);
}
