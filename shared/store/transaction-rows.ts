import type { Selectable } from 'kysely';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import type { Transaction, TransactionKind } from '#shared/domain/transaction.ts';
import { publicKeyFromBytes, transactionHashFromBytes } from '#shared/protocol/ids.ts';
import { decodeChanges, decodeEvents } from '#shared/protocol/seal.ts';
import type { Tables } from './tables.ts';

/** A row of `transactions` as the domain knows it. */
export function transactionOf(
  row: Selectable<Tables['transactions']>,
  contextId: ContextId,
): Transaction {
  return {
    contextId,
    sequence: BigInt(row.sequence),
    hash: transactionHashFromBytes(row.hash),
    priorHash: transactionHashFromBytes(row.prior_hash),
    kind: row.kind as TransactionKind,
    method: row.method,
    payload: row.payload,
    executorPublicKey: executorOf(row.executor_public_key),
    principal: row.principal,
    requestId: row.request_id,
    timeNs: BigInt(row.time_ns),
    randomSeed: row.random_seed,
    executionVersion: row.execution_version,
    fuelLimit: BigInt(row.fuel_limit),
    status: row.status === 'ok' ? 'ok' : 'failed',
    output: row.output,
    error: row.error,
    events: decodeEvents(row.events),
    changes: decodeChanges(row.changes),
    rootHash: row.root_hash,
    artifact: row.artifact,
    fuelUsed: BigInt(row.fuel_used),
    seal: row.seal,
  };
}

let lastKey: Buffer = Buffer.alloc(0);
let lastText: PublicKey | null = null;

/** Neighbouring rows mostly have the same executor: its text is made once. */
function executorOf(bytes: Buffer): PublicKey {
  if (lastText !== null && lastKey.equals(bytes)) return lastText;
  lastKey = bytes;
  lastText = publicKeyFromBytes(bytes);
  return lastText;
}
