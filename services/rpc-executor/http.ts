import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Logger } from 'pino';
import { AppError, ERROR_TABLE } from '#shared/domain/app-error.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import { PERMISSION_OF_CALL, type Principal } from '#shared/domain/permissions.ts';
import { parsePublicKey } from '#shared/protocol/ids.ts';
import { authorize } from '#shared/service/authorize.ts';
import {
  encodeError,
  encodeResult,
  type ParsedRequest,
  parseJsonRpcBody,
  type RpcError,
} from '#shared/protocol/json-rpc.ts';
import type { ParsedCall } from '#shared/protocol/json-rpc-call.ts';
import type { ExecuteReply, ExecuteRequest } from '#shared/protocol/internal-messages.ts';
import { type Authenticate, retryAfterOf } from '#shared/service/authenticate.ts';
import { ANY_ORIGIN, CORS_HEADERS } from '#shared/service/cors.ts';
import { readBody } from '#shared/service/read-body.ts';
import { rpcErrorOf } from './rpc-error.ts';

export interface JsonRpcOptions {
  readonly authenticate: Authenticate;
  readonly execute: (request: ExecuteRequest) => Promise<ExecuteReply>;
  readonly bodyBytesMax: number;
  /** Requests in one array. */
  readonly batchMax: number;
  readonly log: Logger;
}

/** Answers to one array, together: what is above it has to be asked for alone. */
const BATCH_ANSWER_CHARS_MAX = 67_108_864;

/** `POST /jsonrpc`, answered straight from `node:http`: this is the hot path. */
export function createJsonRpcHandler(options: JsonRpcOptions) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    if (request.method === 'OPTIONS') return void response.writeHead(204, CORS_HEADERS).end();
    if (request.method !== 'POST') return void send(response, 405, '', 'text/plain');
    handle(options, request, response).catch((error: unknown) => {
      if (!(error instanceof AppError)) options.log.error({ err: error }, 'a request failed');
      sendFailure(response, error);
    });
  };
}

async function handle(
  options: JsonRpcOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const asked = options.authenticate(request);
  const principal = asked instanceof Promise ? await asked : asked;
  demandDoor(request, principal);
  if (!isJson(request.headers['content-type'])) {
    const text = 'Expected request with `Content-Type: application/json`';
    return send(response, 415, text, 'text/plain; charset=utf-8');
  }
  const body = await readBody(request, options.bodyBytesMax);
  const parsed = parseJsonRpcBody(body, options.batchMax);
  if (parsed.kind === 'malformed') {
    return send(response, parsed.status, parsed.text, 'text/plain; charset=utf-8');
  }
  const answer =
    parsed.kind === 'batch'
      ? await answerBatch(options, parsed.requests, principal)
      : parsed.kind === 'error'
        ? encodeError(parsed.id, parsed.error)
        : await call(options, parsed, principal);
  send(response, 200, answer, 'application/json');
}

/** The answers in the order of the requests, which run side by side as if they had come alone. */
async function answerBatch(
  options: JsonRpcOptions,
  requests: readonly ParsedRequest[],
  principal: Principal,
): Promise<string> {
  const answers = await Promise.all(
    requests.map(async (request) => {
      if (request.kind === 'error') return encodeError(request.id, request.error);
      try {
        return await call(options, request, principal);
      } catch (error) {
        return encodeError(request.id, rpcErrorOf(request.method, error));
      }
    }),
  );
  let chars = 0;
  const bounded = answers.map((answer, i) => {
    chars += answer.length;
    if (chars <= BATCH_ANSWER_CHARS_MAX) return answer;
    const reason = 'the answers of the batch are too large together: ask for this one alone';
    return encodeError(requests[i]?.id ?? 'null', {
      type: 'InternalError',
      data: { retryable: false, reason },
    });
  });
  return `[${bounded.join(',')}]`;
}

async function call(
  options: JsonRpcOptions,
  parsed: ParsedCall,
  principal: Principal,
): Promise<string> {
  const { contextId, method, payload, executorPublicKey, requestId, reportFuel } = parsed.params;
  let reply: ExecuteReply;
  try {
    authorize(principal, PERMISSION_OF_CALL[parsed.method], contextId);
    reply = await options.execute({
      kind: parsed.method,
      contextId,
      method,
      payload,
      executorPublicKey: identityOf(principal, executorPublicKey, contextId),
      principal: principal.id,
      requestId,
    });
  } catch (error) {
    if (!(error instanceof AppError)) options.log.error({ err: error }, 'a call failed');
    else if (error.code === 'unauthorized') throw error;
    return encodeError(parsed.id, rpcErrorOf(parsed.method, error));
  }
  const { status, output, error } = reply.outcome;
  const fuelUsed = reportFuel ? reply.outcome.fuelUsed : null;
  if (status === 'failed') {
    const failure: RpcError = {
      type: 'FunctionCallError',
      data: error ?? 'unknown failure',
      ...(fuelUsed !== null && { fuelUsed: fuelUsed.toString() }),
    };
    return encodeError(parsed.id, failure);
  }
  return encodeResult(parsed.id, output, { ...reply, fuelUsed });
}

function isJson(type: string | undefined): boolean {
  return type === 'application/json' || /^application\/(.+\+)?json\b/i.test(type ?? '');
}

/** Nobody gets a body parsed for nothing; `/jsonrpc/dev` is the node operator's. */
function demandDoor({ url }: IncomingMessage, principal: Principal): void {
  const { kind, grants } = principal;
  if (grants.length === 0) authorize(principal, 'context_query');
  if (!url?.startsWith('/jsonrpc/dev')) return;
  if (kind === 'node-key' || kind === 'admin-token' || kind === 'open') return;
  throw new AppError('unauthorized', '');
}

/** A token is for one identity, and for no other. */
function identityOf(
  { executorPublicKey }: Principal,
  asked: PublicKey | null,
  contextId: ContextId,
): PublicKey | null {
  if (executorPublicKey === null) return asked;
  if (asked === null || asked === executorPublicKey) return parsePublicKey(executorPublicKey);
  throw new AppError('forbidden', 'the token is for another identity', {
    contextId,
    publicKey: asked,
  });
}

function sendFailure(response: ServerResponse, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const known = error instanceof AppError ? error : new AppError('internal', 'internal error');
  const { status } = ERROR_TABLE[known.code];
  if (status === 413) response.setHeader('connection', 'close');
  if (known.code === 'rate_limited') response.setHeader('retry-after', retryAfterOf(known));
  send(response, status, known.message, 'text/plain; charset=utf-8');
}

function send(response: ServerResponse, status: number, body: string, type: string): void {
  const length = String(Buffer.byteLength(body));
  const headers = [...ANY_ORIGIN, 'content-type', type, 'content-length', length];
  response.writeHead(status, headers);
  response.end(body);
}
