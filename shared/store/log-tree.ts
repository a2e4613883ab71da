import { sql } from 'kysely';
import { sha256 } from '#shared/crypto/sha256.ts';
import { AppError } from '#shared/domain/app-error.ts';
import {
  consistencyPath,
  inclusionPath,
  leafHash,
  nodeHash,
  rootOf,
  splitOf,
  type SubtreeRoot,
} from '#shared/protocol/merkle.ts';
import { assert } from '#shared/util/assert.ts';
import { CopyRows } from './copy-rows.ts';
import type { Database } from './database.ts';
import { partsWithin } from './lineage.ts';
import { SEAL, streamSealPages } from './log-pages.ts';
import { byteaArray, int8Array } from './pg-array.ts';
import type { ContextRow } from './transaction-log.ts';

/** The Merkle tree over the seals of a log, as far as it was asked for. */
export interface LogTree {
  readonly size: bigint;
  readonly root: Uint8Array;
  readonly lastSeal: Uint8Array;
  inclusionPath(sequence: bigint): Uint8Array[];
  consistencyPath(before: bigint): Uint8Array[];
}

/** Leaves of a subtree whose root is stored: one seal is read again for each of them. */
const CHUNK = 1_024;
const CHUNK_SIZE = BigInt(CHUNK);
/** Roots that are stored at once. */
const ROOTS_PER_INSERT = 256;

/** Loads trees; what is missing of one is made once, however many ask for it at the same time. */
export class LogTrees {
  readonly #database: Database;
  readonly #underWay = new Map<bigint, Promise<void>>();

  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * The tree over a context's whole log, able to give the path of a transaction, and that between
   * it and an earlier size. Throws AppError `conflict` when the log is not what it was.
   */
  async load(context: ContextRow, leaf: bigint): Promise<LogTree> {
    const size = context.head.sequence;
    const complete = size / CHUNK_SIZE;
    await this.#extend(context, complete);
    const roots = await this.#readRoots(context, complete);
    const leaves = new Map<bigint, readonly Uint8Array[]>();
    const tail = await this.#readSeals(context, complete * CHUNK_SIZE + 1n, size);
    leaves.set(complete, tail.map(hashed));
    const chunk = (leaf - 1n) / CHUNK_SIZE;
    if (chunk < complete) {
      const first = chunk * CHUNK_SIZE + 1n;
      const hashes = (await this.#readSeals(context, first, first + CHUNK_SIZE - 1n)).map(hashed);
      demandSame(rootOf(sha256, hashes), roots[Number(chunk)], chunk);
      leaves.set(chunk, hashes);
    }
    const [lastSeal] = await this.#readSeals(context, size, size);
    if (lastSeal === undefined || Buffer.compare(lastSeal, context.head.seal) !== 0) {
      throw changed('its end is not that of the context');
    }
    const rootAt = subtrees(roots, leaves);
    return {
      size,
      root: rootAt(0n, size),
      lastSeal,
      inclusionPath: (sequence) => inclusionPath(rootAt, sequence - 1n, size),
      consistencyPath: (before) => consistencyPath(rootAt, before, size),
    };
  }

  /** One extension of a context's tree after the other: the next finds what the last one stored. */
  async #extend(context: ContextRow, complete: bigint): Promise<void> {
    const { contextKey } = context;
    const before = this.#underWay.get(contextKey) ?? Promise.resolve();
    const extending = before.catch(() => undefined).then(() => this.#storeRoots(context, complete));
    this.#underWay.set(contextKey, extending);
    try {
      await extending;
    } finally {
      if (this.#underWay.get(contextKey) === extending) this.#underWay.delete(contextKey);
    }
  }

  async #storeRoots(context: ContextRow, complete: bigint): Promise<void> {
    const row = await this.#database.kysely
      .selectFrom('log_subtrees')
      .select((of) => of.fn.max('position').as('last'))
      .where('context', '=', context.contextKey.toString())
      .executeTakeFirst();
    let position = BigInt(row?.last ?? -1) + 1n;
    if (position >= complete) return;
    let hashes: Uint8Array[] = [];
    let made: { readonly position: bigint; readonly root: Uint8Array }[] = [];
    const range = { from: position * CHUNK_SIZE + 1n, to: complete * CHUNK_SIZE };
    for await (const seals of this.#streamSeals(context, range)) {
      for (const seal of seals) {
        hashes.push(hashed(seal));
        if (hashes.length < CHUNK) continue;
        made.push({ position, root: rootOf(sha256, hashes) });
        position += 1n;
        hashes = [];
      }
      if (made.length < ROOTS_PER_INSERT) continue;
      await this.#insertRoots(context, made);
      made = [];
    }
    if (made.length > 0) await this.#insertRoots(context, made);
  }

  async #insertRoots(
    { contextKey }: ContextRow,
    made: readonly { readonly position: bigint; readonly root: Uint8Array }[],
  ): Promise<void> {
    await sql`INSERT INTO log_subtrees (context, position, root)
      SELECT ${contextKey.toString()}::int8, position, root
      FROM unnest(${int8Array(made.map(({ position }) => position))}::int8[],
        ${byteaArray(made.map(({ root }) => root))}::bytea[]) AS made(position, root)
      ON CONFLICT DO NOTHING`.execute(this.#database.kysely);
  }

  async #readRoots({ contextKey }: ContextRow, complete: bigint): Promise<readonly Uint8Array[]> {
    const rows = await this.#database.kysely
      .selectFrom('log_subtrees')
      .select('root')
      .where('context', '=', contextKey.toString())
      .where('position', '<', complete.toString())
      .orderBy('position')
      .execute();
    assert(BigInt(rows.length) === complete, 'the tree was extended to all complete subtrees');
    return rows.map(({ root }) => root);
  }

  async #readSeals(context: ContextRow, from: bigint, to: bigint): Promise<Uint8Array[]> {
    const all: Uint8Array[] = [];
    for await (const seals of this.#streamSeals(context, { from, to })) all.push(...seals);
    return all;
  }

  /** Throws AppError `conflict` where one is missing. */
  async *#streamSeals(
    context: ContextRow,
    range: { readonly from: bigint; readonly to: bigint },
  ): AsyncGenerator<readonly Uint8Array[]> {
    let next = range.from;
    for await (const page of streamSealPages(this.#database, partsWithin(context.lineage, range))) {
      const rows = new CopyRows(SEAL, page.bytes);
      const seals: Uint8Array[] = [];
      while (rows.next()) {
        if (rows.int8(SEAL.sequence) !== next) throw changed(`transaction ${next} is missing`);
        seals.push(rows.bytes(SEAL.seal));
        next += 1n;
      }
      yield seals;
    }
    if (next <= range.to) throw changed(`transaction ${next} is missing`);
  }
}

function hashed(seal: Uint8Array): Uint8Array {
  return leafHash(sha256, seal);
}

/** Roots by stored subtrees where there are some, and by leaves below. */
function subtrees(
  roots: readonly Uint8Array[],
  leaves: ReadonlyMap<bigint, readonly Uint8Array[]>,
): SubtreeRoot {
  return function rootAt(start, size): Uint8Array {
    if (size > CHUNK_SIZE) {
      const left = splitOf(size);
      return nodeHash(sha256, rootAt(start, left), rootAt(start + left, size - left));
    }
    const chunk = start / CHUNK_SIZE;
    const stored = size === CHUNK_SIZE ? roots[Number(chunk)] : undefined;
    if (stored !== undefined) return stored;
    const first = Number(start - chunk * CHUNK_SIZE);
    const hashes = leaves.get(chunk)?.slice(first, first + Number(size));
    assert(hashes?.length === Number(size), 'the leaves of the subtree were read');
    return rootOf(sha256, hashes);
  };
}

function demandSame(root: Uint8Array, stored: Uint8Array | undefined, chunk: bigint): void {
  if (stored !== undefined && Buffer.compare(root, stored) === 0) return;
  const first = chunk * CHUNK_SIZE + 1n;
  throw changed(`the seals from ${first} to ${first + CHUNK_SIZE - 1n} are others than they were`);
}

function changed(what: string): AppError {
  return new AppError('conflict', `the log was changed: ${what}; verify it`);
}
