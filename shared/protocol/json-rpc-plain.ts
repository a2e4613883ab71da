import { AppError } from '#shared/domain/app-error.ts';
import { ownText } from '#shared/util/own-text.ts';
import { parseContextId, parsePublicKey } from './ids.ts';
import { type ParsedCall, type RawId, REQUEST_ID_CHARS_MAX } from './json-rpc-call.ts';
import { type PlainJson, printPlainJson } from './plain-json.ts';

/**
 * Reads a call that is as most calls are. Undefined for any other: `parseCall` knows what to make
 * of it, and what to say.
 */
export function plainCall(root: PlainJson): ParsedCall | undefined {
  const request = membersOf(root);
  const id = plainId(request?.['id']);
  const method = request?.['method'];
  const isUsual = method === 'query' || method === 'mutate' || method === 'execute';
  if (id === undefined || !isUsual || request?.['jsonrpc'] !== '2.0') return undefined;
  const params = plainParams(request['params']);
  return params === undefined ? undefined : { kind: 'call', id, method, params };
}

function plainParams(value: PlainJson | undefined): ParsedCall['params'] | undefined {
  const params = membersOf(value);
  if (params?.['argsJson'] === undefined) return undefined;
  const { contextId, method, argsJson, executorPublicKey, requestId, reportFuel } = params;
  const args = printPlainJson(argsJson);
  const isUsual =
    args !== undefined &&
    typeof method === 'string' &&
    !method.includes('\0') &&
    (reportFuel == null || typeof reportFuel === 'boolean') &&
    isRequestId(requestId);
  if (!isUsual) return undefined;
  try {
    return {
      contextId: parseContextId(contextId),
      method,
      payload: Buffer.from(args),
      executorPublicKey: executorPublicKey == null ? null : parsePublicKey(executorPublicKey),
      requestId: typeof requestId === 'string' ? ownText(requestId) : null,
      reportFuel: reportFuel === true,
    };
  } catch (error) {
    if (error instanceof AppError) return undefined;
    throw error;
  }
}

function membersOf(value: PlainJson | undefined) {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return value as { readonly [key: string]: PlainJson | undefined };
}

function plainId(id: PlainJson | undefined): RawId | undefined {
  if (id === undefined || id === null) return 'null';
  if (typeof id === 'number') return id >= 0 ? String(id) : undefined;
  return typeof id === 'string' ? JSON.stringify(id) : undefined;
}

function isRequestId(value: PlainJson | undefined): value is string | null | undefined {
  if (value == null) return true;
  if (typeof value !== 'string' || value.includes('\0')) return false;
  return value.length > 0 && value.length <= REQUEST_ID_CHARS_MAX;
}
