import { isAscii } from 'node:buffer';
import { AppError } from '#shared/domain/app-error.ts';
import type { TransactionHash } from '#shared/domain/ids.ts';
import { nameOf, parseCall, type ParsedCall, parseRequestId, type RawId } from './json-rpc-call.ts';
import { plainCall } from './json-rpc-plain.ts';
import { JsonError, type JsonNode, parseJson, printJson } from './lossless-json.ts';
import { parsePlainJson, type PlainJson } from './plain-json.ts';

/** An error object of the dialect: there are no numeric codes. */
export interface RpcError {
  readonly type: string;
  readonly data: unknown;
  /** Extension, on request: decimal. */
  readonly fuelUsed?: string;
}

export type ParsedRequest =
  | ParsedCall
  | { readonly kind: 'error'; readonly id: RawId; readonly error: RpcError };

interface Malformed {
  readonly kind: 'malformed';
  readonly status: 400 | 413 | 422;
  readonly text: string;
}

export type ParsedBody =
  | ParsedRequest
  | Malformed
  /** Extension: an array of requests, each answered in its place. */
  | { readonly kind: 'batch'; readonly requests: readonly ParsedRequest[] };

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Parses the body of `POST /jsonrpc`: a request, or an array of up to `batchMax`. Never throws. */
export function parseJsonRpcBody(body: Uint8Array, batchMax: number): ParsedBody {
  let text: string;
  let root: JsonNode;
  try {
    text = decodeUtf8(body);
    const plain = parsePlainJson(text);
    const parsed = plain === undefined ? undefined : plainBody(plain, batchMax);
    if (parsed !== undefined) return parsed;
    root = parseJson(text);
  } catch (error) {
    const reason = error instanceof JsonError ? error.message : 'invalid UTF-8';
    return malformed(400, `Failed to parse the request body as JSON: ${reason}`);
  }
  if (root.kind !== 'array') return parseRequest(root);
  if (root.items.length === 0) return shape('invalid length 0, expected at least one request');
  if (root.items.length > batchMax) {
    return malformed(413, `a batch has up to ${batchMax} requests, not ${root.items.length}`);
  }
  return { kind: 'batch', requests: root.items.map(parseEntry) };
}

/** Undefined where something is not as usual. */
function plainBody(root: PlainJson, batchMax: number): ParsedBody | undefined {
  if (!Array.isArray(root)) return plainCall(root);
  if (root.length === 0 || root.length > batchMax) return undefined;
  const requests: ParsedCall[] = [];
  for (const item of root as readonly PlainJson[]) {
    const call = plainCall(item);
    if (call === undefined) return undefined;
    requests.push(call);
  }
  return { kind: 'batch', requests };
}

/** An entry that is no request must not cost the others their answers. */
function parseEntry(node: JsonNode): ParsedRequest {
  const parsed = parseRequest(node);
  if (parsed.kind !== 'malformed') return parsed;
  return { kind: 'error', id: 'null', error: { type: 'ParseError', data: parsed.text } };
}

function parseRequest(root: JsonNode): ParsedRequest | Malformed {
  if (root.kind !== 'object') return shape(`invalid type: ${nameOf(root)}, expected a request`);
  const { members } = root;
  const version = members.get('jsonrpc');
  if (version === undefined) return shape('missing field `jsonrpc`');
  if (version.kind !== 'string' || version.value !== '2.0') {
    return shape(`invalid value: ${printJson(version)}, expected "2.0"`);
  }
  const id = parseRequestId(members.get('id'));
  if (id === null) return shape('data did not match any variant of a request id');
  try {
    return { kind: 'call', id, ...parseCall(members) };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { kind: 'error', id, error: { type: 'ParseError', data: error.message } };
  }
}

/** A result with the guest's JSON embedded as it is, or the error that it is no JSON. */
export function encodeResult(
  id: RawId,
  output: Uint8Array | null,
  left: {
    readonly sequence: bigint | null;
    readonly hash: TransactionHash | null;
    /** Null when nobody asked. */
    readonly fuelUsed: bigint | null;
  },
): string {
  let text = 'null';
  if (output !== null) {
    try {
      text = decodeUtf8(output);
      JSON.parse(text);
    } catch (error) {
      const message = error instanceof Error ? error.message : 'the output is not JSON';
      return encodeError(id, { type: 'SerdeError', data: { message } });
    }
  }
  const position =
    left.sequence === null ? '' : `,"sequence":"${left.sequence}","hash":"${left.hash}"`;
  const fuel = left.fuelUsed === null ? '' : `,"fuelUsed":"${left.fuelUsed}"`;
  return `{"jsonrpc":"2.0","id":${id},"result":{"output":${text}${position}${fuel}}}`;
}

export function encodeError(id: RawId, error: RpcError): string {
  return `{"jsonrpc":"2.0","id":${id},"error":${JSON.stringify(error)}}`;
}

/** Throws a TypeError for what is not UTF-8. */
function decodeUtf8(bytes: Uint8Array): string {
  if (!isAscii(bytes)) return utf8.decode(bytes);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function shape(reason: string): Malformed {
  return malformed(422, `Failed to deserialize the JSON body into the target type: ${reason}`);
}

function malformed(status: Malformed['status'], text: string): Malformed {
  return { kind: 'malformed', status, text };
}
