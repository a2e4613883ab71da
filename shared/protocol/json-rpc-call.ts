import { AppError } from '#shared/domain/app-error.ts';
import { SCRIPT_ENGINES, type ScriptEngine } from '#shared/domain/engine.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import { ownText } from '#shared/util/own-text.ts';
import { parseContextId, parsePublicKey } from './ids.ts';
import { type JsonNode, printJson } from './lossless-json.ts';

export type RpcMethod = 'query' | 'mutate' | 'execute' | 'play';

/** The request id as it stood in the request, as JSON text. */
export type RawId = string;

export interface ParsedCall {
  readonly kind: 'call';
  readonly id: RawId;
  readonly method: RpcMethod;
  readonly params: {
    readonly contextId: ContextId;
    /** The engine, of a `play`. */
    readonly method: string;
    /** Canonical JSON text, as the guest reads it; of a `play`, the script. */
    readonly payload: Uint8Array;
    /** Null where the client leaves the choice to the node. */
    readonly executorPublicKey: PublicKey | null;
    /** Extension: idempotency key. */
    readonly requestId: string | null;
    /** Extension: the answer tells how much fuel the call used. */
    readonly reportFuel: boolean;
  };
}

type Members = ReadonlyMap<string, JsonNode>;

export const RPC_METHODS: readonly RpcMethod[] = ['query', 'mutate', 'execute', 'play'];
export const REQUEST_ID_CHARS_MAX = 128;

/** Throws AppError `invalid_request` in the dialect's words. */
export function parseCall(members: Members): Omit<ParsedCall, 'kind' | 'id'> {
  const method = methodOf(textOf(members, 'method'));
  const params = members.get('params');
  if (params === undefined) throw bad('missing field `params`');
  if (params.kind !== 'object') {
    throw bad(`invalid type: ${nameOf(params)}, expected an object of parameters`);
  }
  const contextId = parseContextId(textOf(params.members, 'contextId'));
  const asked = method === 'play' ? scriptOf(params.members) : invocationOf(params.members);
  const executor = optionalTextOf(params.members, 'executorPublicKey');
  return {
    method,
    params: {
      contextId,
      ...asked,
      executorPublicKey: executor === null ? null : parsePublicKey(executor),
      requestId: idempotencyKeyOf(params.members),
      reportFuel: flagOf(params.members, 'reportFuel'),
    },
  };
}

function invocationOf(members: Members): { method: string; payload: Uint8Array } {
  const method = textOf(members, 'method');
  if (method.includes('\0')) throw bad('invalid value: a method name has no NUL character');
  const args = members.get('argsJson');
  if (args === undefined) throw bad('missing field `argsJson`');
  return { method, payload: Buffer.from(printJson(args)) };
}

function scriptOf(members: Members): { method: ScriptEngine; payload: Uint8Array } {
  const name = textOf(members, 'engine');
  const engine = SCRIPT_ENGINES.find((known) => known === name);
  if (engine === undefined) {
    throw bad(`unknown variant \`${name}\`, expected one of ${list(SCRIPT_ENGINES)}`);
  }
  return { method: engine, payload: Buffer.from(textOf(members, 'script')) };
}

function methodOf(text: string): RpcMethod {
  const method = RPC_METHODS.find((known) => known === text);
  if (method !== undefined) return method;
  throw bad(`unknown variant \`${text}\`, expected one of ${list(RPC_METHODS)}`);
}

function idempotencyKeyOf(members: Members): string | null {
  const text = optionalTextOf(members, 'requestId');
  if (text === null) return null;
  if (text.length === 0 || text.length > REQUEST_ID_CHARS_MAX || text.includes('\0')) {
    throw bad(`invalid length: \`requestId\` has 1 to ${REQUEST_ID_CHARS_MAX} characters`);
  }
  return ownText(text);
}

function flagOf(members: Members, field: string): boolean {
  const node = members.get(field);
  if (node === undefined || node.kind === 'null') return false;
  if (node.kind === 'boolean') return node.value;
  throw bad(`invalid type: ${nameOf(node)}, expected a boolean for \`${field}\``);
}

function textOf(members: Members, field: string): string {
  const node = members.get(field);
  if (node === undefined) throw bad(`missing field \`${field}\``);
  if (node.kind !== 'string') {
    throw bad(`invalid type: ${nameOf(node)}, expected a string for \`${field}\``);
  }
  return node.value;
}

function optionalTextOf(members: Members, field: string): string | null {
  const node = members.get(field);
  return node === undefined || node.kind === 'null' ? null : textOf(members, field);
}

/** String, u64 or null; absent is null. Returns null for anything else. */
export function parseRequestId(node: JsonNode | undefined): RawId | null {
  if (node === undefined) return 'null';
  const isKnown =
    node.kind === 'null' ||
    node.kind === 'string' ||
    (node.kind === 'number' && /^\d+$/.test(node.text));
  return isKnown ? printJson(node) : null;
}

export function nameOf(node: JsonNode): string {
  switch (node.kind) {
    case 'object':
      return 'map';
    case 'array':
      return 'sequence';
    case 'number':
      return /[.e]/.test(node.text)
        ? `floating point \`${node.text}\``
        : `integer \`${node.text}\``;
    case 'string':
      return `string ${JSON.stringify(node.value)}`;
    case 'boolean':
      return `boolean \`${node.value}\``;
    case 'null':
      return 'null';
  }
}

function list(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}

function bad(message: string): AppError {
  return new AppError('invalid_request', message);
}
