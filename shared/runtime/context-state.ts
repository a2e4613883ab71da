import type { ContextId } from '#shared/domain/ids.ts';
import type { Head, Outcome, StateChange, TransactionRequest } from '#shared/domain/transaction.ts';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import { sealTransaction } from '#shared/protocol/seal.ts';
import type { ExecutionResult, Program } from './runtime.ts';

/** A transaction's place in the chain, and its new end. */
export interface Appended extends Head {
  readonly priorHash: Head['hash'];
}

export interface ContextStateOptions {
  readonly contextId: ContextId;
  readonly program: Program;
  readonly head: Head;
  /** What the guest committed last, or null when it never did. */
  readonly rootHash: Uint8Array | null;
}

const NO_OUTCOME: Outcome = {
  status: 'ok',
  output: null,
  error: null,
  events: [],
  changes: [],
  rootHash: null,
  artifact: null,
  fuelUsed: 0n,
};

/**
 * The state of one context in memory and the end of its chain. Executing and replaying both go
 * through it, so that a replay cannot differ from what was run.
 */
export class ContextState {
  readonly contextId: ContextId;
  readonly #program: Program;
  /** Keys are 32 bytes as latin1 text. */
  readonly #entries = new Map<string, Uint8Array>();
  #bytes = 0;
  #head: Head;
  #rootHash: Uint8Array | null;

  constructor({ contextId, program, head, rootHash }: ContextStateOptions) {
    this.contextId = contextId;
    this.#program = program;
    this.#head = head;
    this.#rootHash = rootHash;
  }

  get head(): Head {
    return this.#head;
  }

  /** Bytes of all keys and values. */
  get bytes(): number {
    return this.#bytes;
  }

  get entries(): ReadonlyMap<string, Uint8Array> {
    return this.#entries;
  }

  /** Runs the guest on this state, and changes nothing. */
  run(request: TransactionRequest, readOnly: boolean): ExecutionResult {
    const isNoop = request.kind === 'delete' || (request.kind === 'init' && !this.#program.hasInit);
    if (isNoop) return { outcome: NO_OUTCOME, logs: [], hasRun: true };
    const { contextId } = this;
    return this.#program.execute({ contextId, request, state: this.#entries, readOnly });
  }

  /** True when the outcome wrote, emitted, or committed another root than the last. */
  isChangedBy({ changes, events, rootHash }: Outcome): boolean {
    if (changes.length > 0 || events.length > 0) return true;
    if (rootHash === null) return false;
    return this.#rootHash === null || Buffer.compare(rootHash, this.#rootHash) !== 0;
  }

  /** Makes the outcome the next transaction: chains, seals and applies it. */
  append(request: TransactionRequest, outcome: Outcome): Appended {
    const { contextId } = this;
    const { sequence, hash: priorHash, seal: priorSeal } = this.#head;
    const { method, payload, executorPublicKey } = request;
    const hash = transactionHash({ contextId, method, payload, priorHash, executorPublicKey });
    const unsealed = {
      ...request,
      ...outcome,
      contextId,
      sequence: sequence + 1n,
      hash,
      priorHash,
    };
    const seal = sealTransaction(unsealed, priorSeal);
    this.apply(outcome.changes);
    this.#head = { sequence: sequence + 1n, hash, seal };
    this.#rootHash = outcome.rootHash ?? this.#rootHash;
    return { ...this.#head, priorHash };
  }

  /** Applies a state diff that is in the log already. */
  apply(changes: readonly StateChange[]): void {
    for (const { key, value } of changes) this.put(Buffer.from(key).toString('latin1'), value);
  }

  /** Sets an entry, or deletes it when `value` is null. */
  put(key: string, value: Uint8Array | null): void {
    const old = this.#entries.get(key);
    if (old !== undefined) this.#bytes -= key.length + old.length;
    if (value === null) {
      this.#entries.delete(key);
    } else {
      this.#entries.set(key, value);
      this.#bytes += key.length + value.length;
    }
  }
}
