import { decodeId, encodeId } from '#shared/crypto/base58.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import type { ApplicationId, ContextId, TransactionHash } from '#shared/domain/ids.ts';
import type { Divergence } from '#shared/protocol/audit-api.ts';
import { decodeFork, type Fork } from '#shared/protocol/fork.ts';
import { transactionHashBytes } from '#shared/protocol/hash-chain.ts';
import { sealedBytes } from '#shared/protocol/seal-encoding.ts';
import { LOG } from '#shared/store/log-pages.ts';
import type { ContextRow } from '#shared/store/transaction-log.ts';
import type { LogRows } from './log-rows.ts';

/** The end of a chain, in bytes. */
export interface ChainHead {
  readonly sequence: bigint;
  readonly hash: Uint8Array;
  readonly seal: Uint8Array;
}

/**
 * Follows the chain of a log: no row may be missing, each must name the hash of the one before,
 * and have the hash of its question and the seal of everything in it. What a row says is not
 * executed here, only held against what it was sealed with.
 */
export class ChainCheck {
  #sequence: bigint;
  readonly #hash = Buffer.alloc(32);
  readonly #seal = Buffer.alloc(32);
  #contextId: ContextId | null = null;
  #contextBytes: Uint8Array = new Uint8Array();

  constructor({ sequence, hash, seal }: ChainHead) {
    this.#sequence = sequence;
    this.#hash.set(hash);
    this.#seal.set(seal);
  }

  /** The last row that was checked. */
  get head(): ChainHead {
    return { sequence: this.#sequence, hash: this.#hash, seal: this.#seal };
  }

  /** Checks the row that `log` stands on. After a break there is nothing more to check. */
  check(log: LogRows): Divergence | null {
    const { rows, sequence } = log;
    const wanted = this.#sequence + 1n;
    if (sequence !== wanted) return gapAt(wanted, `it goes on with ${sequence}`);
    const fork = this.#forkBreak(log);
    if (fork !== null) return fork;
    const priorHash = rows.bytes(LOG.prior_hash);
    if (!this.#hash.equals(priorHash)) {
      return breakAt(sequence, 'prior_hash', priorHash, this.#hash);
    }
    const hash = rows.bytes(LOG.hash);
    const hashed = transactionHashBytes({
      contextId: log.contextId,
      method: log.method,
      payload: rows.bytes(LOG.payload),
      priorHash: encodeId(this.#hash) as TransactionHash,
      executorPublicKey: log.executorPublicKey,
    });
    if (!hash.equals(hashed)) return breakAt(sequence, 'hash', hash, hashed);
    const seal = rows.bytes(LOG.seal);
    const fields = log.sealedFields(this.#bytesOf(log.contextId));
    const sealed = sha256(sealedBytes(fields, this.#seal));
    if (!seal.equals(sealed)) return breakAt(sequence, 'seal', seal, sealed);
    this.#sequence = sequence;
    this.#hash.set(hash);
    this.#seal.set(seal);
    return null;
  }

  /** Where the rows of another context begin, the first must say that it goes on from here. */
  #forkBreak(log: LogRows): Divergence | null {
    if (this.#contextId === null || this.#contextId === log.contextId) return null;
    const named = log.kind === 'fork' ? forkOf(log.rows.bytes(LOG.payload)) : null;
    if (named?.contextId === this.#contextId && named.sequence === this.#sequence) return null;
    const logged = named === null ? null : `${named.contextId} at ${named.sequence}`;
    const recomputed = `${this.#contextId} at ${this.#sequence}`;
    return {
      sequence: log.sequence.toString(),
      kind: 'fork',
      message: 'it does not go on from the log that the row of the context says it goes on from',
      fields: [{ field: 'fork', logged, recomputed }],
    };
  }

  #bytesOf(contextId: ContextId): Uint8Array {
    if (this.#contextId !== contextId) {
      this.#contextId = contextId;
      this.#contextBytes = decodeId(contextId);
    }
    return this.#contextBytes;
  }
}

/** Rows are missing from `sequence` on. */
export function gapAt(sequence: bigint, what: string): Divergence {
  const message = `the log has no transaction ${sequence}: ${what}`;
  return { sequence: sequence.toString(), kind: 'gap', message, fields: [] };
}

/** What the row of a context says of its log, where the log says something else. */
export function headBreak(
  { head, rootHash, applicationId }: ContextRow,
  log: {
    readonly head: ChainHead;
    /** The last of either that the log names; null when it was not read from its start. */
    readonly started: {
      readonly rootHash: Uint8Array | null;
      readonly applicationId: ApplicationId | null;
    } | null;
  },
): Divergence | null {
  const text = (bytes: Uint8Array | null) => (bytes === null ? null : hex(bytes));
  const sides: readonly (readonly [string, string | null, string | null])[] = [
    ['hash', head.hash, id(log.head.hash)],
    ['seal', hex(head.seal), hex(log.head.seal)],
    ['rootHash', text(rootHash), text(log.started === null ? rootHash : log.started.rootHash)],
    ['applicationId', applicationId, log.started?.applicationId ?? applicationId],
  ];
  const fields = sides
    .filter(([, logged, recomputed]) => logged !== recomputed)
    .map(([field, logged, recomputed]) => ({ field, logged, recomputed }));
  if (fields.length === 0) return null;
  const message = 'the row of the context in the table contexts is not what its log comes to';
  return { sequence: head.sequence.toString(), kind: 'head', message, fields };
}

const MESSAGES = {
  prior_hash: 'its prior hash is not the hash of the transaction before it',
  hash: 'its hash is not that of its context, method, payload, prior hash and executor: the row was changed after it was written',
  seal: 'its seal is not that of its fields and the seal before it: the row was changed after it was written',
} as const;

function breakAt(
  sequence: bigint,
  kind: keyof typeof MESSAGES,
  logged: Uint8Array,
  recomputed: Uint8Array,
): Divergence {
  const [a, b] = kind === 'seal' ? [hex(logged), hex(recomputed)] : [id(logged), id(recomputed)];
  return {
    sequence: sequence.toString(),
    kind,
    message: MESSAGES[kind],
    fields: [{ field: kind, logged: a, recomputed: b }],
  };
}

function forkOf(payload: Buffer): Fork | null {
  try {
    return decodeFork(payload);
  } catch {
    return null;
  }
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

/** What stands where an id should be may have another length. */
function id(bytes: Uint8Array): string {
  return bytes.length === 32 ? encodeId(bytes) : hex(bytes);
}
