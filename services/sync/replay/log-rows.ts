import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import type {
  Transaction,
  TransactionKind,
  TransactionRequest,
} from '#shared/domain/transaction.ts';
import { publicKeyFromBytes, transactionHashFromBytes } from '#shared/protocol/ids.ts';
import { decodeChanges, decodeEvents } from '#shared/protocol/seal.ts';
import type { SealedFields } from '#shared/protocol/seal-encoding.ts';
import { CopyRows } from '#shared/store/copy-rows.ts';
import { LOG, type LogPage } from '#shared/store/log-pages.ts';

/** Neighbouring rows mostly say the same in a column: its text is made once. */
class TextColumn<T extends string> {
  #bytes: Buffer | null = null;
  #text = '' as T;
  readonly #read: (bytes: Buffer) => T;

  constructor(read: (bytes: Buffer) => T) {
    this.#read = read;
  }

  of(bytes: Buffer): T {
    if (this.#bytes !== null && this.#bytes.equals(bytes)) return this.#text;
    this.#text = this.#read(bytes);
    // A copy: the page must not live for as long as its last text.
    this.#bytes = Buffer.from(bytes);
    return this.#text;
  }
}

/** The texts of one walk over a log, over all its pages. */
export class LogTexts {
  readonly kind = new TextColumn((bytes) => bytes.toString() as TransactionKind);
  readonly method = new TextColumn((bytes) => bytes.toString());
  readonly principal = new TextColumn((bytes) => bytes.toString());
  readonly status = new TextColumn((bytes) => bytes.toString() as Transaction['status']);
  /** One of another length is in no member's name, and in no hash. */
  readonly executor = new TextColumn((bytes) =>
    bytes.length === 32 ? publicKeyFromBytes(bytes) : (bytes.toString('hex') as PublicKey),
  );
}

/** The rows of a page, decoded only as far as is asked for. Bytes are views into the page. */
export class LogRows {
  readonly contextId: ContextId;
  readonly rows: CopyRows;
  readonly #texts: LogTexts;

  constructor({ contextId, bytes }: LogPage, texts: LogTexts) {
    this.contextId = contextId;
    this.rows = new CopyRows(LOG, bytes);
    this.#texts = texts;
  }

  /** Goes to the next row; false behind the last. */
  next(): boolean {
    return this.rows.next();
  }

  get sequence(): bigint {
    return this.rows.int8(LOG.sequence);
  }

  get kind(): TransactionKind {
    return this.#texts.kind.of(this.rows.bytes(LOG.kind));
  }

  get method(): string {
    return this.#texts.method.of(this.rows.bytes(LOG.method));
  }

  get executorPublicKey(): PublicKey {
    return this.#texts.executor.of(this.rows.bytes(LOG.executor_public_key));
  }

  get status(): Transaction['status'] {
    return this.#texts.status.of(this.rows.bytes(LOG.status));
  }

  get error(): string | null {
    return this.rows.optional(LOG.error)?.toString() ?? null;
  }

  request(): TransactionRequest {
    const { rows } = this;
    return {
      kind: this.kind,
      method: this.method,
      payload: rows.bytes(LOG.payload),
      executorPublicKey: this.executorPublicKey,
      principal: this.#texts.principal.of(rows.bytes(LOG.principal)),
      requestId: rows.optional(LOG.request_id)?.toString() ?? null,
      timeNs: rows.int8(LOG.time_ns),
      randomSeed: rows.bytes(LOG.random_seed),
      executionVersion: rows.int4(LOG.execution_version),
      fuelLimit: rows.int8(LOG.fuel_limit),
    };
  }

  /** What the row's seal should be made of, with the bytes of the context's id. */
  sealedFields(contextId: Uint8Array): SealedFields {
    const { rows } = this;
    return {
      contextId,
      sequence: rows.int8(LOG.sequence),
      hash: rows.bytes(LOG.hash),
      priorHash: rows.bytes(LOG.prior_hash),
      kind: rows.bytes(LOG.kind),
      method: rows.bytes(LOG.method),
      payload: rows.bytes(LOG.payload),
      executorPublicKey: rows.bytes(LOG.executor_public_key),
      principal: rows.bytes(LOG.principal),
      requestId: rows.optional(LOG.request_id),
      timeNs: rows.int8(LOG.time_ns),
      randomSeed: rows.bytes(LOG.random_seed),
      executionVersion: rows.int4(LOG.execution_version),
      fuelLimit: rows.int8(LOG.fuel_limit),
      status: rows.bytes(LOG.status),
      output: rows.optional(LOG.output),
      error: rows.optional(LOG.error),
      events: rows.bytes(LOG.events),
      changes: rows.bytes(LOG.changes),
      rootHash: rows.optional(LOG.root_hash),
      artifact: rows.optional(LOG.artifact),
      fuelUsed: rows.int8(LOG.fuel_used),
    };
  }

  /** The whole row. Throws when its events or changes are not of their encoding. */
  transaction(): Transaction {
    const { rows } = this;
    return {
      ...this.request(),
      contextId: this.contextId,
      sequence: this.sequence,
      hash: transactionHashFromBytes(rows.bytes(LOG.hash)),
      priorHash: transactionHashFromBytes(rows.bytes(LOG.prior_hash)),
      status: this.status,
      output: rows.optional(LOG.output),
      error: this.error,
      events: decodeEvents(rows.bytes(LOG.events)),
      changes: decodeChanges(rows.bytes(LOG.changes)),
      rootHash: rows.optional(LOG.root_hash),
      artifact: rows.optional(LOG.artifact),
      fuelUsed: rows.int8(LOG.fuel_used),
      seal: rows.bytes(LOG.seal),
    };
  }
}
