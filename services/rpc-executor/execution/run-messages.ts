import type { ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';
import type {
  Outcome,
  Transaction,
  TransactionKind,
  TransactionRequest,
} from '#shared/domain/transaction.ts';
import { encodeNotice, noticeOf } from '#shared/protocol/log-notice.ts';
import { sequenceOf, writeLogRow } from '#shared/store/log-row.ts';
import { assert } from '#shared/util/assert.ts';
import { ByteReader } from '#shared/util/byte-reader.ts';
import type { ByteWriter } from '#shared/util/byte-writer.ts';

/**
 * Runs and their outcomes travel between the main thread and a worker as bytes: the structured
 * clone of as many objects costs both sides more than a small guest does.
 */
export interface Run {
  readonly contextId: ContextId;
  readonly request: TransactionRequest;
  readonly mode: RunMode;
}

/**
 * - `query` may not write and leaves no transaction.
 * - `append` always leaves one.
 * - `append-if-changed` leaves one if it wrote, emitted, or committed another root than the last.
 * - `append-if-ok` leaves one only on success (`init`).
 */
export type RunMode = (typeof MODES)[number];
const MODES = ['query', 'append', 'append-if-changed', 'append-if-ok'] as const;

/** What one run came to. Its bytes are views on the message that brought them. */
export interface Ran {
  readonly outcome: Pick<Outcome, 'status' | 'output' | 'error' | 'fuelUsed'>;
  readonly logs: readonly string[];
  /** Bytes of the context's state afterwards. */
  readonly stateBytes: number;
  /** The transaction that it left, else null. */
  readonly appended: AppendedRow | null;
}

export interface AppendedRow {
  readonly sequence: bigint;
  readonly hash: TransactionHash;
  /** As `writeLogRow` wrote it. */
  readonly row: Buffer;
  /** What is published once it is committed, as `encodeNotice` wrote it. */
  readonly notice: Buffer;
  /** Bytes that it wrote to the state, about. */
  readonly changedBytes: number;
}

/** What a worker writes of a run: with the whole transaction, if it left one. */
export interface RanInFull extends Omit<Ran, 'appended'> {
  readonly transaction: Transaction | null;
}

const NO_LOGS: readonly string[] = [];
const KEY_BYTES = 32;
const FAULT = 0;
const HELD = 1;
const APPENDED = 2;

export function writeRun(writer: ByteWriter, runId: number, run: Run): void {
  const { contextId, request, mode } = run;
  writer.i32(runId);
  writer.text(contextId);
  writer.u8(MODES.indexOf(mode));
  writer.text(request.kind);
  writer.text(request.method);
  writer.bytes(request.payload);
  writer.text(request.executorPublicKey);
  writer.text(request.principal);
  writer.text(request.requestId);
  writer.i64(request.timeNs);
  writer.bytes(request.randomSeed);
  writer.i32(request.executionVersion);
  writer.i64(request.fuelLimit);
}

/** Calls `handle` for each run of a message, in order. */
export function readRuns(message: Uint8Array, handle: (runId: number, run: Run) => void): void {
  const reader = new ByteReader(message);
  while (!reader.isAtEnd) {
    const runId = reader.i32();
    const contextId = reader.someText() as ContextId;
    const mode = MODES[reader.u8()];
    assert(mode !== undefined, 'a run has a known mode');
    const request = {
      kind: reader.someText() as TransactionKind,
      method: reader.someText(),
      payload: reader.someBytes(),
      executorPublicKey: reader.someText() as PublicKey,
      principal: reader.someText(),
      requestId: reader.text(),
      timeNs: reader.i64(),
      randomSeed: reader.someBytes(),
      executionVersion: reader.i32(),
      fuelLimit: reader.i64(),
    };
    handle(runId, { contextId, request, mode });
  }
}

export function writeFault(writer: ByteWriter, runId: number, message: string): void {
  writer.i32(runId);
  writer.u8(FAULT);
  writer.text(message);
}

export function writeRan(writer: ByteWriter, runId: number, ran: RanInFull): void {
  const { outcome, logs, stateBytes, transaction } = ran;
  writer.i32(runId);
  writer.u8(transaction === null ? HELD : APPENDED);
  writer.u8(outcome.status === 'ok' ? 1 : 0);
  writer.bytes(outcome.output);
  writer.text(outcome.error);
  writer.i64(outcome.fuelUsed);
  writer.text(logs.length === 0 ? null : JSON.stringify(logs));
  writer.f64(stateBytes);
  if (transaction === null) return;
  writer.text(transaction.hash);
  const rowAt = writer.length;
  writer.i32(0);
  writeLogRow(writer, transaction);
  writer.patchLength(rowAt);
  writer.bytes(encodeNotice(noticeOf(transaction)));
  let changedBytes = 0;
  for (const { value } of transaction.changes) changedBytes += KEY_BYTES + (value?.length ?? 0);
  writer.f64(changedBytes);
}

/** What became of the runs of a message, in order: a text is a fault of the host. */
export function readRan(
  message: Uint8Array,
  handle: (runId: number, result: Ran | string) => void,
): void {
  const reader = new ByteReader(message);
  while (!reader.isAtEnd) {
    const runId = reader.i32();
    const kind = reader.u8();
    if (kind === FAULT) {
      handle(runId, reader.someText());
      continue;
    }
    const status = reader.u8() === 1 ? 'ok' : 'failed';
    const outcome = {
      status,
      output: reader.bytes(),
      error: reader.text(),
      fuelUsed: reader.i64(),
    } as const;
    const logs = reader.text();
    handle(runId, {
      outcome,
      logs: logs === null ? NO_LOGS : (JSON.parse(logs) as string[]),
      stateBytes: reader.f64(),
      appended: kind === APPENDED ? readAppended(reader) : null,
    });
  }
}

function readAppended(reader: ByteReader): AppendedRow {
  const hash = reader.someText() as TransactionHash;
  const row = reader.someBytes();
  return {
    sequence: sequenceOf(row),
    hash,
    row,
    notice: reader.someBytes(),
    changedBytes: reader.f64(),
  };
}
