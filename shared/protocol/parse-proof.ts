import { decodeId } from '#shared/crypto/base58.ts';
import type { ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';
import type { ApplicationEvent, StateChange, Transaction } from '#shared/domain/transaction.ts';
import {
  CONSISTENCY_FORMAT,
  type ConsistencyProof,
  type LogProof,
  PROOF_FORMAT,
  PROOF_VERSION,
  type SignedLogHead,
} from './log-proof.ts';

/** A proof that is not of its form; the message says where. */
export class ProofFormatError extends Error {
  override readonly name = 'ProofFormatError';
}

type Fields = Readonly<Record<string, unknown>>;

const TRANSACTION_FIELDS =
  'contextId sequence hash priorHash kind method payload executorPublicKey principal requestId timeNs randomSeed executionVersion fuelLimit status output error events changes rootHash artifact fuelUsed';
const HEAD_FIELDS = 'contextId size root lastSeal timeMs nodeKey signature';
const U64_MAX = 2n ** 64n - 1n;
const U32_MAX = 2 ** 32 - 1;
/** No tree of 64-bit sizes is higher. */
const PATH_MAX = 64;
const HASH_BYTES = 32;

/** Reads the JSON of a proof: exactly its fields, each in its one form. Throws ProofFormatError. */
export function parseProof(value: unknown): LogProof {
  const fields = fieldsOf(value, 'format version transaction priorSeal path head', 'the proof');
  demandFormat(fields, PROOF_FORMAT);
  return {
    transaction: transactionOf(fields['transaction']),
    priorSeal: hash(fields['priorSeal'], 'priorSeal'),
    path: pathOf(fields['path']),
    head: headOf(fields['head']),
  };
}

/** Like `parseProof`, of a consistency proof. */
export function parseConsistencyProof(value: unknown): ConsistencyProof {
  const fields = fieldsOf(value, 'format version from path head', 'the proof');
  demandFormat(fields, CONSISTENCY_FORMAT);
  return {
    from: u64(fields['from'], 'from'),
    path: pathOf(fields['path']),
    head: headOf(fields['head']),
  };
}

export function parseSignedHead(value: unknown): SignedLogHead {
  return headOf(value);
}

function demandFormat(fields: Fields, format: string): void {
  if (fields['format'] !== format) throw bad(`it is not a ${format}`);
  if (fields['version'] !== PROOF_VERSION) throw bad('it is of a version that is not known here');
}

function transactionOf(value: unknown): Omit<Transaction, 'seal'> {
  const t = fieldsOf(value, TRANSACTION_FIELDS, 'transaction');
  return {
    contextId: id(t['contextId'], 'contextId') as ContextId,
    sequence: u64(t['sequence'], 'sequence'),
    hash: id(t['hash'], 'hash') as TransactionHash,
    priorHash: id(t['priorHash'], 'priorHash') as TransactionHash,
    kind: text(t['kind'], 'kind') as Transaction['kind'],
    method: text(t['method'], 'method'),
    payload: bytes(t['payload'], 'payload'),
    executorPublicKey: id(t['executorPublicKey'], 'executorPublicKey') as PublicKey,
    principal: text(t['principal'], 'principal'),
    requestId: optional(text, t['requestId'], 'requestId'),
    timeNs: u64(t['timeNs'], 'timeNs'),
    randomSeed: bytes(t['randomSeed'], 'randomSeed'),
    executionVersion: integer(t['executionVersion'], 'executionVersion', U32_MAX),
    fuelLimit: u64(t['fuelLimit'], 'fuelLimit'),
    status: statusOf(t['status']),
    output: optional(bytes, t['output'], 'output'),
    error: optional(text, t['error'], 'error'),
    events: list(t['events'], 'events').map(eventOf),
    changes: list(t['changes'], 'changes').map(changeOf),
    rootHash: optional(bytes, t['rootHash'], 'rootHash'),
    artifact: optional(bytes, t['artifact'], 'artifact'),
    fuelUsed: u64(t['fuelUsed'], 'fuelUsed'),
  };
}

function eventOf(value: unknown): ApplicationEvent {
  const { kind, data } = fieldsOf(value, 'kind data', 'an event');
  return { kind: text(kind, 'the kind of an event'), data: bytes(data, 'the data of an event') };
}

function changeOf(value: unknown): StateChange {
  const change = fieldsOf(value, 'key value', 'a change');
  return {
    key: bytes(change['key'], 'the key of a change'),
    value: optional(bytes, change['value'], 'the value of a change'),
  };
}

function statusOf(value: unknown): Transaction['status'] {
  if (value === 'ok' || value === 'failed') return value;
  throw bad('status is neither "ok" nor "failed"');
}

function headOf(value: unknown): SignedLogHead {
  const head = fieldsOf(value, HEAD_FIELDS, 'head');
  return {
    contextId: id(head['contextId'], 'head.contextId') as ContextId,
    size: u64(head['size'], 'head.size'),
    root: hash(head['root'], 'head.root'),
    lastSeal: hash(head['lastSeal'], 'head.lastSeal'),
    timeMs: integer(head['timeMs'], 'head.timeMs', Number.MAX_SAFE_INTEGER),
    nodeKey: id(head['nodeKey'], 'head.nodeKey') as PublicKey,
    signature: bytes(head['signature'], 'head.signature'),
  };
}

function pathOf(value: unknown): Uint8Array[] {
  const path = list(value, 'path');
  if (path.length > PATH_MAX) throw bad(`path has more than ${PATH_MAX} hashes`);
  return path.map((item) => hash(item, 'path'));
}

/** An object with these fields and no others. */
function fieldsOf(value: unknown, names: string, what: string): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw bad(`${what} is not an object`);
  }
  const wanted = names.split(' ');
  const unknown = Object.keys(value).find((name) => !wanted.includes(name));
  if (unknown !== undefined) throw bad(`${what} has an unknown field "${unknown}"`);
  const missing = wanted.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) throw bad(`${what} has no field "${missing}"`);
  return value as Fields;
}

function list(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value as readonly unknown[];
  throw bad(`${what} is not a list`);
}

function text(value: unknown, what: string): string {
  if (typeof value === 'string' && value.isWellFormed()) return value;
  throw bad(`${what} is not a text`);
}

function integer(value: unknown, what: string, max: number): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= max) {
    return value;
  }
  throw bad(`${what} is not an integer from 0 on`);
}

function u64(value: unknown, what: string): bigint {
  if (typeof value === 'string' && /^(0|[1-9]\d{0,19})$/.test(value)) {
    const number = BigInt(value);
    if (number <= U64_MAX) return number;
  }
  throw bad(`${what} is not a decimal number of 64 bits`);
}

function id(value: unknown, what: string): string {
  try {
    const found = text(value, what);
    decodeId(found);
    return found;
  } catch {
    throw bad(`${what} is not an id`);
  }
}

function hash(value: unknown, what: string): Uint8Array {
  const found = bytes(value, what);
  if (found.length !== HASH_BYTES) throw bad(`${what} is not a hash of ${HASH_BYTES} bytes`);
  return found;
}

function bytes(value: unknown, what: string): Uint8Array {
  if (typeof value !== 'string' || value.length % 2 === 1 || !/^[0-9a-f]*$/.test(value)) {
    throw bad(`${what} is not lower-case hex`);
  }
  const found = new Uint8Array(value.length / 2);
  for (let i = 0; i < found.length; i += 1) {
    found[i] = Number.parseInt(value.slice(2 * i, 2 * i + 2), 16);
  }
  return found;
}

function optional<T>(
  parse: (value: unknown, what: string) => T,
  value: unknown,
  what: string,
): T | null {
  return value === null ? null : parse(value, what);
}

function bad(reason: string): ProofFormatError {
  return new ProofFormatError(reason);
}
