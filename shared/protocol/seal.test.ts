import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import { parseContextId, parsePublicKey, parseTransactionHash } from '#shared/protocol/ids.ts';
import {
  decodeChanges,
  decodeEvents,
  encodeChanges,
  encodeEvents,
  sealTransaction,
} from './seal.ts';

interface Vector {
  readonly previousSeal: string;
  readonly transaction: {
    readonly [field in
      | 'contextId'
      | 'sequence'
      | 'hash'
      | 'priorHash'
      | 'method'
      | 'payload'
      | 'executorPublicKey'
      | 'principal'
      | 'timeNs'
      | 'randomSeed'
      | 'fuelLimit'
      | 'fuelUsed']: string;
  } & {
    readonly kind: 'init' | 'mutate' | 'execute' | 'delete';
    readonly status: 'ok' | 'failed';
    readonly executionVersion: number;
    readonly requestId: string | null;
    readonly output: string | null;
    readonly error: string | null;
    readonly events: readonly { readonly kind: string; readonly data: string }[];
    readonly changes: readonly { readonly key: string; readonly value: string | null }[];
    readonly rootHash: string | null;
    readonly artifact: string | null;
  };
  readonly seal: string;
}

/** Bytes are hex, integers decimal, ids base58; made by another implementation of the table. */
const { vectors } = JSON.parse(
  readFileSync(new URL('seal-vectors.json', import.meta.url), 'utf8'),
) as { readonly vectors: readonly Vector[] };

const bytes = (hex: string) => Buffer.from(hex, 'hex');
const optional = (hex: string | null) => (hex === null ? null : bytes(hex));

function read({ transaction }: Vector) {
  return {
    ...transaction,
    contextId: parseContextId(transaction.contextId),
    sequence: BigInt(transaction.sequence),
    hash: parseTransactionHash(transaction.hash),
    priorHash: parseTransactionHash(transaction.priorHash),
    payload: bytes(transaction.payload),
    executorPublicKey: parsePublicKey(transaction.executorPublicKey),
    timeNs: BigInt(transaction.timeNs),
    randomSeed: bytes(transaction.randomSeed),
    fuelLimit: BigInt(transaction.fuelLimit),
    output: optional(transaction.output),
    events: transaction.events.map(({ kind, data }) => ({ kind, data: bytes(data) })),
    changes: transaction.changes.map(({ key, value }) => ({
      key: bytes(key),
      value: optional(value),
    })),
    rootHash: optional(transaction.rootHash),
    artifact: optional(transaction.artifact),
    fuelUsed: BigInt(transaction.fuelUsed),
  };
}

describe('seals', () => {
  test.each(vectors)(
    'reproduce the vector $transaction.sequence of execution version $transaction.executionVersion',
    (vector) => {
      const transaction = read(vector);

      const seal = sealTransaction(transaction, bytes(vector.previousSeal));

      expect(Buffer.from(seal).toString('hex')).toBe(vector.seal);
      expect(transactionHash(transaction)).toBe(vector.transaction.hash);
    },
  );

  test('cover every field', () => {
    const [, vector] = vectors;
    if (vector === undefined) throw new Error('the file has vectors');
    const transaction = read(vector);
    const previous = bytes(vector.previousSeal);
    const other = {
      contextId: parseContextId(vector.transaction.executorPublicKey),
      sequence: 9n,
      hash: transaction.priorHash,
      priorHash: transaction.hash,
      kind: 'execute',
      method: 'sett',
      payload: bytes('00'),
      executorPublicKey: parsePublicKey(vector.transaction.contextId),
      principal: 'root',
      requestId: null,
      timeNs: 1n,
      randomSeed: bytes('00'.repeat(32)),
      executionVersion: 1,
      fuelLimit: 2n,
      status: 'failed',
      output: null,
      error: '',
      events: [],
      changes: [],
      rootHash: null,
      artifact: null,
      fuelUsed: 3n,
    } as const;

    expect(Object.keys(other).sort()).toEqual(Object.keys(transaction).sort());
    const seals = Object.entries(other).map(([field, value]) =>
      Buffer.from(sealTransaction({ ...transaction, [field]: value }, previous)).toString('hex'),
    );
    seals.push(Buffer.from(sealTransaction(transaction, Buffer.alloc(32))).toString('hex'));

    expect(new Set([...seals, vector.seal]).size).toBe(Object.keys(other).length + 2);
  });
});

test('events and changes survive their columns', () => {
  const data = fc.uint8Array().map((array) => Buffer.from(array));
  const event = fc.record({ kind: fc.string({ unit: 'grapheme' }), data });
  const change = fc.record({ key: data, value: fc.option(data) });
  fc.assert(
    fc.property(fc.array(event), fc.array(change), (events, changes) => {
      expect(decodeEvents(encodeEvents(events))).toEqual(events);
      expect(decodeChanges(encodeChanges(changes))).toEqual(changes);
    }),
  );
});
