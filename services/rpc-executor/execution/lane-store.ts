import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import { loadProgramCode } from '#shared/service/program-code.ts';
import { listMembers } from '#shared/store/member-store.ts';
import type { Database } from '#shared/store/database.ts';
import { findForkPoint, type ForkPoint } from '#shared/store/fork-point.ts';
import type { Lineage } from '#shared/store/lineage.ts';
import { findSnapshot, readSnapshot, writeSnapshot } from '#shared/store/snapshot-store.ts';
import { readRecentRequestIds, readRequest, streamChanges } from '#shared/store/log-reader.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import type { Lane } from './lane.ts';
import type { Snapshot } from './worker-messages.ts';
import type { WorkerSlot } from './worker-pool.ts';

const RECENT_MAX = 1_000;

export interface LoadedContext {
  readonly members: ReadonlySet<string>;
  /** Oldest first. */
  readonly recentRequestIds: readonly string[];
  readonly knowsAllRequests: boolean;
}

/** What a lane reads from Postgres, and how it brings a context onto its worker. */
export class LaneStore {
  readonly snapshotEvery: number;
  readonly #database: Database;

  constructor(database: Database, snapshotEvery: number) {
    this.#database = database;
    this.snapshotEvery = snapshotEvery;
  }

  /** State = nearest snapshot + diffs. Throws AppError `context_not_found`. */
  async load(lane: Lane, slot: WorkerSlot): Promise<LoadedContext> {
    const context = await findContext(this.#database, lane.contextId);
    if (context === null || context.deletedAt !== null) {
      throw new AppError('context_not_found', 'no such context', { contextId: lane.contextId });
    }
    lane.contextKey = context.contextKey;
    lane.applicationId = context.applicationId;
    lane.resize(context.stateBytes);
    await this.sendProgram(context.applicationId, slot);
    slot.send({
      kind: 'open',
      contextId: lane.contextId,
      applicationId: context.applicationId,
      head: context.head,
      rootHash: context.rootHash,
    });
    await this.#sendState(lane.contextId, context.lineage, context.head.sequence, slot);
    const [members, recent] = await Promise.all([
      listMembers(this.#database, lane.contextId),
      readRecentRequestIds(this.#database, context.lineage, RECENT_MAX),
    ]);
    lane.defaultExecutor = members.find(({ isOwned }) => isOwned)?.publicKey ?? null;
    return {
      members: new Set(members.map(({ publicKey }) => publicKey)),
      recentRequestIds: recent.requestIds,
      knowsAllRequests: recent.isWholeLog,
    };
  }

  /**
   * Brings the state of another context at a sequence, its head when null, onto the worker as that
   * of a context to be. Throws AppError `context_not_found`, and `invalid_request` for a sequence
   * that the context does not have.
   */
  async openFork(
    fork: {
      readonly contextId: ContextId;
      readonly parentId: ContextId;
      readonly sequence: bigint | null;
    },
    slot: WorkerSlot,
  ): Promise<ForkPoint> {
    const { contextId, parentId, sequence } = fork;
    const parent = await findContext(this.#database, parentId);
    if (parent === null || parent.deletedAt !== null) {
      throw new AppError('context_not_found', 'no such context', { contextId: parentId });
    }
    const point = await findForkPoint(this.#database, parent, sequence ?? parent.head.sequence);
    const { generation } = slot;
    const { applicationId, head, lineage, rootHash } = point;
    await this.sendProgram(applicationId, slot);
    slot.send({ kind: 'open', contextId, applicationId, head, rootHash });
    await this.#sendState(contextId, lineage, head.sequence, slot);
    if (slot.generation === generation) return point;
    throw new AppError('unavailable', 'the worker was replaced, try again');
  }

  async loadMembers(contextId: ContextId): Promise<ReadonlySet<string>> {
    const members = await listMembers(this.#database, contextId);
    return new Set(members.map(({ publicKey }) => publicKey));
  }

  /** The transaction that a request id left, or null. */
  findRequest(lane: Lane, requestId: string): Promise<Transaction | null> {
    return readRequest(this.#database, lane.contextKey, lane.contextId, requestId);
  }

  async writeSnapshot(lane: Lane, { head, entries }: Snapshot): Promise<void> {
    await writeSnapshot(this.#database, {
      contextKey: lane.contextKey,
      sequence: head.sequence,
      seal: head.seal,
      state: new Map(entries),
    });
  }

  /** Compiles the application on the worker, once. Throws AppError `application_not_installed`. */
  async sendProgram(applicationId: ApplicationId, slot: WorkerSlot): Promise<void> {
    if (slot.programs.has(applicationId)) return;
    const code = await loadProgramCode(this.#database, applicationId);
    slot.send({ kind: 'program', code });
    slot.programs.add(applicationId);
  }

  async #sendState(
    contextId: ContextId,
    lineage: Lineage,
    to: bigint,
    slot: WorkerSlot,
  ): Promise<void> {
    const snapshot = await findSnapshot(this.#database, lineage, to);
    if (snapshot !== null) {
      for await (const entries of readSnapshot(this.#database, snapshot)) {
        slot.send({ kind: 'load', contextId, entries });
      }
    }
    const range = { from: snapshot?.sequence ?? 0n, to };
    for await (const changes of streamChanges(this.#database, lineage, range)) {
      if (changes.length > 0) slot.send({ kind: 'apply', contextId, changes });
    }
  }
}
