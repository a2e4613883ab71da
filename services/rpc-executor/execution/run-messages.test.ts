import { describe, expect, test } from 'vitest';
import type { ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import { decodeNotice } from '#shared/protocol/log-notice.ts';
import { hashOf, priorHashOf, rootHashOf, sealOf, sequenceOf } from '#shared/store/log-row.ts';
import { decodeId, encodeId } from '#shared/crypto/base58.ts';
import { ByteWriter } from '#shared/util/byte-writer.ts';
import {
  type Ran,
  readRan,
  readRuns,
  type Run,
  writeFault,
  writeRan,
  writeRun,
} from './run-messages.ts';

const id = (byte: number) => encodeId(new Uint8Array(32).fill(byte));
const request = {
  kind: 'mutate' as const,
  method: 'sät',
  payload: Buffer.from('{"a":1}'),
  executorPublicKey: id(1) as PublicKey,
  principal: 'ada',
  requestId: null,
  timeNs: 1_700_000_000_000_000_001n,
  randomSeed: Buffer.alloc(32, 9),
  executionVersion: 1,
  fuelLimit: 2n ** 40n,
};
const transaction: Transaction = {
  ...request,
  contextId: id(2) as ContextId,
  sequence: 2n ** 60n,
  hash: id(3) as TransactionHash,
  priorHash: id(4) as TransactionHash,
  seal: Buffer.alloc(32, 5),
  status: 'ok',
  output: Buffer.from('null'),
  error: null,
  events: [{ kind: 'Set', data: Buffer.from('{}') }],
  changes: [
    { key: Buffer.alloc(32, 6), value: Buffer.from('value') },
    { key: Buffer.alloc(32, 7), value: null },
  ],
  rootHash: Buffer.alloc(32, 8),
  artifact: Buffer.from('artifact'),
  fuelUsed: 77n,
};

function readAll(writer: ByteWriter): Map<number, Ran | string> {
  const results = new Map<number, Ran | string>();
  readRan(writer.take(), (runId, result) => results.set(runId, result));
  return results;
}

describe('runs', () => {
  test('arrive in order, as they were asked for', () => {
    const writer = new ByteWriter();
    const first: Run = { contextId: transaction.contextId, request, mode: 'append' };
    const second: Run = {
      ...first,
      request: { ...request, requestId: 'r-1', payload: Buffer.alloc(0) },
      mode: 'append-if-ok',
    };
    writeRun(writer, 1, first);
    writeRun(writer, 0x7fff_fffe, second);

    const read: [number, Run][] = [];
    readRuns(writer.take(), (runId, run) => read.push([runId, run]));

    expect(read).toEqual([
      [1, first],
      [0x7fff_fffe, second],
    ]);
  });
});

describe('outcomes', () => {
  test('bring the transaction as a row of the log, and its notice', () => {
    const writer = new ByteWriter();
    writeRan(writer, 7, { outcome: transaction, logs: [], stateBytes: 2 ** 40, transaction });

    const ran = readAll(writer).get(7) as Ran;

    expect(ran).toMatchObject({ logs: [], stateBytes: 2 ** 40 });
    expect(ran.outcome).toEqual({
      status: 'ok',
      output: transaction.output,
      error: null,
      fuelUsed: 77n,
    });
    const { appended } = ran;
    if (appended === null) throw new Error('it left a transaction');
    expect(appended).toMatchObject({ sequence: 2n ** 60n, hash: transaction.hash });
    expect(appended.changedBytes).toBe(32 + 5 + 32);
    expect(sequenceOf(appended.row)).toBe(2n ** 60n);
    expect(hashOf(appended.row)).toEqual(Buffer.from(decodeId(transaction.hash)));
    expect(priorHashOf(appended.row)).toEqual(Buffer.from(decodeId(transaction.priorHash)));
    expect(sealOf(appended.row)).toEqual(transaction.seal);
    expect(rootHashOf(appended.row)).toEqual(transaction.rootHash);
    expect(decodeNotice(appended.notice)).toMatchObject({ sequence: 2n ** 60n, kind: 'mutate' });
  });

  test('that left no transaction, and faults of the host, arrive among others', () => {
    const writer = new ByteWriter();
    const failed = { status: 'failed', output: null, error: 'no 🔑', fuelUsed: 0n } as const;
    writeFault(writer, 1, 'out of memory');
    writeRan(writer, 2, { outcome: failed, logs: ['a', 'ü'], stateBytes: 0, transaction: null });
    writeRan(writer, 3, {
      outcome: transaction,
      logs: [],
      stateBytes: 1,
      transaction: { ...transaction, rootHash: null },
    });

    const results = readAll(writer);

    expect(results.get(1)).toBe('out of memory');
    expect(results.get(2)).toEqual({
      outcome: failed,
      logs: ['a', 'ü'],
      stateBytes: 0,
      appended: null,
    });
    const { appended } = results.get(3) as Ran;
    expect(appended === null ? undefined : rootHashOf(appended.row)).toBeNull();
  });
});
