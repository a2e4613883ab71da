import type { ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';
import { assert } from '#shared/util/assert.ts';
import { ByteReader } from '#shared/util/byte-reader.ts';
import { ByteWriter } from '#shared/util/byte-writer.ts';
import type { ExecuteReply, ExecuteRequest } from './internal-messages.ts';

/** A reply, and the executor that gave it: who asks for the same partition next may ask it directly. */
export interface RoutedReply {
  readonly reply: ExecuteReply;
  readonly executorId: string;
}

/** What every request of a client is; the rest is rare, and travels as JSON. */
type Call = Extract<ExecuteRequest, { kind: 'query' | 'mutate' | 'execute' | 'play' }>;
type Other = Exclude<ExecuteRequest, Call>;
const CALL_KINDS = ['query', 'mutate', 'execute', 'play'] as const satisfies Call['kind'][];

/** The first byte of a request. Only services of one deployment send them to each other. */
const CALL = 1;
const OTHER = 2;
const REPLY = 1;
const NO_SEQUENCE = -1n;
const writer = new ByteWriter();

export function encodeExecuteRequest(request: ExecuteRequest): Uint8Array {
  return isCall(request) ? encodeCall(request) : encodeOther(request);
}

/** Decodes what `encodeExecuteRequest` made; its bytes are copies. */
export function decodeExecuteRequest(bytes: Uint8Array): ExecuteRequest {
  const reader = new ByteReader(bytes);
  const form = reader.u8();
  if (form === OTHER) return decodeOther(reader.someText());
  assert(form === CALL, 'the request has a form that is known here');
  const kind = CALL_KINDS[reader.u8()];
  assert(kind !== undefined, 'a call has a known kind');
  return {
    kind,
    contextId: reader.someText() as ContextId,
    method: reader.someText(),
    // The message that it came in is larger, and must not be kept for it.
    payload: new Uint8Array(reader.someBytes()),
    executorPublicKey: reader.text() as PublicKey | null,
    principal: reader.someText(),
    requestId: reader.text(),
  };
}

export function encodeExecuteReply({ reply, executorId }: RoutedReply): Uint8Array {
  const { outcome, sequence, hash } = reply;
  writer.u8(REPLY);
  writer.text(executorId);
  writer.u8(outcome.status === 'ok' ? 1 : 0);
  writer.bytes(outcome.output);
  writer.text(outcome.error);
  writer.i64(outcome.fuelUsed);
  writer.i64(sequence ?? NO_SEQUENCE);
  writer.text(hash);
  return writer.take();
}

/** Decodes what `encodeExecuteReply` made; its bytes are a view on it. */
export function decodeExecuteReply(bytes: Uint8Array): RoutedReply {
  const reader = new ByteReader(bytes);
  assert(reader.u8() === REPLY, 'the reply has a form that is known here');
  const executorId = reader.someText();
  const status = reader.u8() === 1 ? 'ok' : 'failed';
  const output = reader.bytes();
  const error = reader.text();
  const fuelUsed = reader.i64();
  const sequence = reader.i64();
  const hash = reader.text() as TransactionHash | null;
  return {
    executorId,
    reply: {
      outcome: { status, output, error, fuelUsed },
      sequence: sequence === NO_SEQUENCE ? null : sequence,
      hash,
    },
  };
}

function isCall(request: ExecuteRequest): request is Call {
  return CALL_KINDS.some((kind) => kind === request.kind);
}

function encodeCall(call: Call): Uint8Array {
  writer.u8(CALL);
  writer.u8(CALL_KINDS.indexOf(call.kind));
  writer.text(call.contextId);
  writer.text(call.method);
  writer.bytes(call.payload);
  writer.text(call.executorPublicKey);
  writer.text(call.principal);
  writer.text(call.requestId);
  return writer.take();
}

function encodeOther(request: Other): Uint8Array {
  writer.u8(OTHER);
  writer.text(JSON.stringify(toText(request)));
  return writer.take();
}

/** Bytes as base64, and numbers that JSON has not as decimals. */
function toText(request: Other): object {
  switch (request.kind) {
    case 'delete':
    case 'upgrade':
      return request;
    case 'fork': {
      const sequence = request.sequence?.toString() ?? null;
      return { ...request, sequence, sealedPrivateKey: toBase64(request.sealedPrivateKey) };
    }
    case 'create': {
      const payload = toBase64(request.payload);
      return { ...request, payload, sealedPrivateKey: toBase64(request.sealedPrivateKey) };
    }
  }
}

function decodeOther(text: string): Other {
  const wire = JSON.parse(text) as Other;
  switch (wire.kind) {
    case 'delete':
    case 'upgrade':
      return wire;
    case 'fork': {
      // The wire carries decimal text where the type says a number.
      const sequence = wire.sequence === null ? null : BigInt(String(wire.sequence));
      return { ...wire, sequence, sealedPrivateKey: fromBase64(wire.sealedPrivateKey) };
    }
    case 'create': {
      const payload = fromBase64(wire.payload);
      return { ...wire, payload, sealedPrivateKey: fromBase64(wire.sealedPrivateKey) };
    }
  }
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('base64');
}

/** The wire carries base64 text where the type says bytes. */
function fromBase64(text: unknown): Uint8Array {
  return Buffer.from(String(text), 'base64');
}
