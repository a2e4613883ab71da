import { AppError } from '#shared/domain/app-error.ts';
import { type ApplicationId, type ContextId, type PublicKey, ZERO_ID } from '#shared/domain/ids.ts';
import type { TransactionRequest } from '#shared/domain/transaction.ts';
import type { Divergence } from '#shared/protocol/audit-api.ts';
import { decodeUpgrade, encodeUpgrade } from '#shared/protocol/upgrade.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import type { Database } from '#shared/store/database.ts';
import { partsWithin } from '#shared/store/lineage.ts';
import { LOG, type LogPage, readUpgradeIn, streamLogPages } from '#shared/store/log-pages.ts';
import { listMembers } from '#shared/store/member-store.ts';
import { listSnapshotHashes } from '#shared/store/snapshot-hashes.ts';
import { type ContextRow, findContext } from '#shared/store/transaction-log.ts';
import { ChainCheck, type ChainHead, gapAt, headBreak } from './chain-check.ts';
import { loadProgram } from './load-program.ts';
import { LogRows, LogTexts } from './log-rows.ts';
import type { Migration, ReplayPlan, ReplayTask, ToExecutor } from './messages.ts';
import { findBase, readHead, sendBase } from './replay-base.ts';

type RehearsalTask = Extract<ReplayTask, { kind: 'rehearse' }>;
/** What a plan holds besides the base, which is looked for last. */
type Range = Omit<ReplayPlan, 'base'>;

export interface FeederOptions {
  readonly database: Database;
  /** Waits while the executor is behind. */
  readonly send: (message: ToExecutor) => Promise<void>;
}

/** Applications that are kept from one replay to the next. */
const PROGRAMS_MAX = 16;
const BEFORE_FIRST: ChainHead = {
  sequence: 0n,
  hash: Buffer.alloc(32),
  seal: Buffer.alloc(32),
};

/**
 * Reads what a replay needs and sends it to an executor: the applications, the state before the
 * first transaction, the rows. It follows the chain of the log meanwhile, so that hashing and
 * executing can go on side by side.
 */
export class Feeder {
  readonly #database: Database;
  readonly #send: FeederOptions['send'];
  readonly #programs = new Set<ApplicationId>();

  constructor({ database, send }: FeederOptions) {
    this.#database = database;
    this.#send = send;
  }

  /** Throws AppErrors: `context_not_found`, `invalid_request` for a range that is not there. */
  async feed(task: ReplayTask): Promise<void> {
    const { contextId } = task;
    if (this.#programs.size >= PROGRAMS_MAX) {
      await this.#send({ kind: 'forget-programs' });
      this.#programs.clear();
    }
    const context = await findContext(this.#database, contextId);
    if (context === null) {
      throw new AppError('context_not_found', 'Context not found', { contextId });
    }
    if (task.kind === 'verify') await this.#verify(context, task);
    else if (task.migration !== null) await this.#migrate(context, task, task.migration);
    else await this.#rehearse(context, task);
  }

  async #verify(context: ContextRow, task: ReplayTask): Promise<void> {
    const { contextId } = context;
    const from = task.from ?? 1n;
    const to = task.to ?? context.head.sequence;
    demandRange(context, from, to);
    const before = from === 1n ? BEFORE_FIRST : await this.#headBefore(context, from);
    const range = { kind: 'verify', from, to, fuelLimit: 0n } as const;
    const plan = { ...range, contextId, firstContextId: firstOf(context, range) };
    let applicationId = context.applicationId;
    try {
      applicationId = await this.#applicationAt(context, from);
      await this.#ensureProgram(applicationId);
    } catch (error) {
      // An `upgrade` that was changed may name an application that never was.
      const broken = await this.#breakOf(context, before, to);
      if (broken === null) throw error;
      const unrunnable = { ...plan, applicationId, base: 'nothing' } as const;
      await this.#send({ kind: 'unrunnable', plan: unrunnable, broken });
      return;
    }
    const missing = await this.#open(context, { ...plan, applicationId });
    const broken = missing ?? (await this.#verifyRows(context, range, new ChainCheck(before)));
    await this.#send({ kind: 'end', broken });
  }

  /** Sends the rows; gives what is wrong behind the last of them. */
  async #verifyRows(
    context: ContextRow,
    { from, to }: Pick<ReplayPlan, 'from' | 'to'>,
    chain: ChainCheck,
  ): Promise<Divergence | null> {
    const texts = new LogTexts();
    const parts = partsWithin(context.lineage, { from, to });
    const kept = await listSnapshotHashes(this.#database, parts);
    let nextKept = 0;
    let rootHash: Uint8Array | null = null;
    for await (const page of streamLogPages(this.#database, parts)) {
      const log = new LogRows(page, texts);
      const snapshots: typeof kept = [];
      let broken: Divergence | null = null;
      while (broken === null && log.next()) {
        broken = chain.check(log);
        if (broken !== null) break;
        if (log.kind === 'upgrade') await this.#ensureUpgrade(log);
        rootHash = copyOf(log.rows.optional(LOG.root_hash)) ?? rootHash;
        const snapshot = kept[nextKept];
        if (snapshot?.sequence !== chain.head.sequence) continue;
        nextKept += 1;
        // One of another seal shows a transaction that was rolled back: nobody opens it.
        if (snapshot.seal.equals(chain.head.seal)) snapshots.push(snapshot);
      }
      await this.#send({ kind: 'rows', page, broken, snapshots });
      if (broken !== null) return broken;
    }
    const { head } = chain;
    if (head.sequence < to) {
      return gapAt(head.sequence + 1n, `it ends with ${head.sequence}, and goes up to ${to}`);
    }
    if (to !== context.head.sequence) return null;
    if (from > 1n) return headBreak(context, { head, started: null });
    const last = await readUpgradeIn(this.#database, parts, 'last');
    return headBreak(context, {
      head,
      started: { rootHash, applicationId: last?.upgrade.to ?? null },
    });
  }

  /** Follows the chain alone. */
  async #breakOf(context: ContextRow, before: ChainHead, to: bigint): Promise<Divergence | null> {
    const chain = new ChainCheck(before);
    const texts = new LogTexts();
    const parts = partsWithin(context.lineage, { from: before.sequence + 1n, to });
    for await (const page of streamLogPages(this.#database, parts)) {
      const log = new LogRows(page, texts);
      while (log.next()) {
        const broken = chain.check(log);
        if (broken !== null) return broken;
      }
    }
    return null;
  }

  /** The transactions since the last upgrade, if nothing else is said. */
  async #rehearse(context: ContextRow, task: RehearsalTask): Promise<void> {
    const { contextId } = context;
    const { applicationId, fuelLimit } = task;
    const to = task.to ?? context.head.sequence;
    const from = task.from ?? (await this.#lastUpgradeUpTo(context, to)) + 1n;
    demandRange(context, from, to);
    await this.#ensureProgram(applicationId);
    const range = { kind: 'rehearse', contextId, from, to, applicationId, fuelLimit } as const;
    const firstContextId = firstOf(context, range);
    demandWhole(await this.#open(context, { ...range, firstContextId }));
    let next = from;
    for await (const page of streamLogPages(
      this.#database,
      partsWithin(context.lineage, { from, to }),
    )) {
      next += countOf(page);
      await this.#send({ kind: 'rows', page, broken: null, snapshots: [] });
    }
    if (next <= to) demandWhole(gapAt(next, 'or one before it'));
    await this.#send({ kind: 'end', broken: null });
  }

  /** The migration alone, on the state behind `to`, as an upgrade would run it. */
  async #migrate(context: ContextRow, task: RehearsalTask, migration: Migration): Promise<void> {
    const { contextId } = context;
    const { fuelLimit } = task;
    const to = task.to ?? context.head.sequence;
    demandRange(context, to, to);
    const current = await this.#applicationAt(context, to + 1n);
    await this.#ensureProgram(current);
    await this.#ensureProgram(task.applicationId);
    const plan = { kind: 'rehearse', contextId, firstContextId: contextId, fuelLimit } as const;
    // The state before the transaction behind `to`.
    const open = { ...plan, applicationId: current, from: to + 1n, to };
    demandWhole(await this.#open(context, open));
    const members = await listMembers(this.#database, contextId);
    const owned = members.find(({ isOwned }) => isOwned)?.publicKey;
    const request: TransactionRequest = {
      kind: 'upgrade',
      ...migration,
      payload: encodeUpgrade({ from: current, to: task.applicationId }),
      executorPublicKey: owned ?? (ZERO_ID as PublicKey),
      principal: 'rehearsal',
      requestId: null,
      executionVersion: EXECUTION_VERSION,
      fuelLimit,
    };
    await this.#send({ kind: 'migration', request });
    await this.#send({ kind: 'end', broken: null });
  }

  /** Opens the replay on the state before `from`; gives what is missing on the way there. */
  async #open(context: ContextRow, range: Range): Promise<Divergence | null> {
    const base = await findBase(this.#database, context, range.from - 1n);
    await this.#send({ kind: 'open', plan: { ...range, base: base.kind } });
    const missing = await sendBase(this.#database, context, base, this.#send);
    return missing === null ? null : gapAt(missing, 'the state before the range needs it');
  }

  /** The application that runs a transaction, or would run the next. */
  async #applicationAt(context: ContextRow, sequence: bigint): Promise<ApplicationId> {
    const before = partsWithin(context.lineage, { from: 1n, to: sequence - 1n });
    const behind = partsWithin(context.lineage, { from: sequence, to: context.head.sequence });
    const last = await readUpgradeIn(this.#database, before, 'last');
    if (last !== null) return last.upgrade.to;
    const next = await readUpgradeIn(this.#database, behind, 'first');
    return next?.upgrade.from ?? context.applicationId;
  }

  async #lastUpgradeUpTo(context: ContextRow, to: bigint): Promise<bigint> {
    const parts = partsWithin(context.lineage, { from: 1n, to });
    return (await readUpgradeIn(this.#database, parts, 'last'))?.sequence ?? 0n;
  }

  async #headBefore(context: ContextRow, from: bigint): Promise<ChainHead> {
    const head = await readHead(this.#database, context, from - 1n);
    if (head !== null) return head;
    throw new AppError('conflict', `the log has no transaction ${from - 1n}: verify it from there`);
  }

  async #ensureUpgrade(log: LogRows): Promise<void> {
    await this.#ensureProgram(decodeUpgrade(log.rows.bytes(LOG.payload)).to);
  }

  async #ensureProgram(applicationId: ApplicationId): Promise<void> {
    if (this.#programs.has(applicationId)) return;
    const code = await loadProgram(this.#database, applicationId);
    await this.#send({ kind: 'program', code });
    this.#programs.add(applicationId);
  }
}

/** Throws AppError `invalid_request` for a range that the log does not have. */
export function demandRange({ head }: ContextRow, from: bigint, to: bigint): void {
  if (from >= 1n && from <= to && to <= head.sequence) return;
  const text = `the log goes from 1 to ${head.sequence}: there is no range from ${from} to ${to}`;
  throw new AppError('invalid_request', text);
}

/** Whose rows a range begins with. */
function firstOf(
  { contextId, lineage }: ContextRow,
  range: { readonly from: bigint; readonly to: bigint },
): ContextId {
  return partsWithin(lineage, range)[0]?.contextId ?? contextId;
}

/** A rehearsal says nothing about a log that is not whole. */
function demandWhole(missing: Divergence | null): void {
  if (missing !== null) throw new AppError('conflict', `${missing.message}; verify it`);
}

function countOf(page: LogPage): bigint {
  const log = new LogRows(page, new LogTexts());
  let count = 0n;
  while (log.next()) count += 1n;
  return count;
}

function copyOf(bytes: Uint8Array | null): Uint8Array | null {
  return bytes === null ? null : Uint8Array.from(bytes);
}
