import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Head, Outcome, StateChange, TransactionRequest } from '#shared/domain/transaction.ts';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import { decodeUpgrade } from '#shared/protocol/upgrade.ts';
import { sealTransaction } from '#shared/protocol/seal.ts';
import { runScript } from './engines.ts';
import type { ExecutionResult, Program } from './runtime.ts';

/** A transaction's place in the chain, and its new end. */
export interface Appended extends Head {
  readonly priorHash: Head['hash'];
}

export interface ContextStateOptions {
  readonly contextId: ContextId;
  readonly program: Program;
  /** Finds the program that an `upgrade` names. */
  readonly programOf: (applicationId: ApplicationId) => Program;
  readonly head: Head;
  /** What the guest committed last, or null when it never did. */
  readonly rootHash: Uint8Array | null;
}

const NO_ARGUMENTS = new TextEncoder().encode('{}');
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
  #contextId: ContextId;
  readonly #programOf: (applicationId: ApplicationId) => Program;
  #program: Program;
  /** Keys are 32 bytes as latin1 text. */
  readonly #entries = new Map<string, Uint8Array>();
  #bytes = 0;
  #head: Head;
  #rootHash: Uint8Array | null;

  constructor({ contextId, program, programOf, head, rootHash }: ContextStateOptions) {
    this.#contextId = contextId;
    this.#program = program;
    this.#programOf = programOf;
    this.#head = head;
    this.#rootHash = rootHash;
  }

  get contextId(): ContextId {
    return this.#contextId;
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
    if (request.kind === 'upgrade') return this.#runUpgrade(request);
    const { kind } = request;
    const isNoop =
      kind === 'delete' || kind === 'fork' || (kind === 'init' && !this.#program.hasInit);
    if (isNoop) return { outcome: NO_OUTCOME, logs: [], hasRun: true };
    const { contextId } = this;
    const input = { contextId, request, state: this.#entries, readOnly };
    if (request.kind === 'play') return runScript(input);
    return this.#program.execute(input);
  }

  /** The new application's migration, on the state that the old one left. */
  #runUpgrade(request: TransactionRequest): ExecutionResult {
    const { from, to } = decodeUpgrade(request.payload);
    if (this.#program.applicationId !== from) {
      const error = 'the context was given another application meanwhile';
      return { outcome: { ...NO_OUTCOME, status: 'failed', error }, logs: [], hasRun: true };
    }
    if (request.method === '') return { outcome: NO_OUTCOME, logs: [], hasRun: true };
    const { contextId } = this;
    const asked = { ...request, payload: NO_ARGUMENTS };
    const input = { contextId, request: asked, state: this.#entries, readOnly: false };
    return this.#programOf(to).execute(input);
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
    this.follow(request, outcome);
    this.#head = { sequence: sequence + 1n, hash, seal };
    return { ...this.#head, priorHash };
  }

  /** What follows is of another context, which shares the log up to here. */
  forkTo(contextId: ContextId): void {
    this.#contextId = contextId;
  }

  /** Makes the outcome the state, and leaves the chain to a replay that checks it elsewhere. */
  follow({ kind, payload }: TransactionRequest, outcome: Outcome): void {
    this.apply(outcome.changes);
    this.#rootHash = outcome.rootHash ?? this.#rootHash;
    if (kind === 'upgrade') this.#program = this.#programOf(decodeUpgrade(payload).to);
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
