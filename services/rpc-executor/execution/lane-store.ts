import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Head } from '#shared/domain/transaction.ts';
import { loadProgramCode } from '#shared/service/program-code.ts';
import { listMembers } from '#shared/store/member-store.ts';
import type { Database } from '#shared/store/database.ts';
import { loadSnapshot, writeSnapshot } from '#shared/store/snapshot-store.ts';
import {
  type LoggedRequest,
  readRecentRequests,
  readRequest,
  readTransactions,
  streamChanges,
} from '#shared/store/log-reader.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import type { Lane } from './lane.ts';
import { bytesOf, type LaneReply } from './lane-reply.ts';
import { fingerprintOf, fingerprintOfCall } from './request-index.ts';
import type { StateEntry } from './worker-messages.ts';
import type { WorkerSlot } from './worker-pool.ts';

const ENTRIES_PER_MESSAGE = 5_000;
const RECENT = { limit: 1_000, outputBytesMax: 65_536 };

export interface LoadedContext {
  readonly members: ReadonlySet<string>;
  readonly recentRequests: ReadonlyMap<string, KnownRequest>;
  readonly knowsAllRequests: boolean;
}

/** A request that the log has an answer to. */
export interface KnownRequest {
  readonly fingerprint: string;
  readonly reply: LaneReply;
  /** Of the answer. */
  readonly bytes: number;
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
    await this.#sendState(lane, slot, context.head.sequence);
    const [members, recent] = await Promise.all([
      listMembers(this.#database, lane.contextId),
      readRecentRequests(this.#database, lane.contextKey, RECENT),
    ]);
    lane.defaultExecutor = members.find(({ isOwned }) => isOwned)?.publicKey ?? null;
    return {
      members: new Set(members.map(({ publicKey }) => publicKey)),
      recentRequests: new Map(
        recent.requests.map((request) => [
          request.requestId,
          knownRequestOf(request, fingerprintOf(request)),
        ]),
      ),
      knowsAllRequests: recent.isWholeLog,
    };
  }

  async loadMembers(contextId: ContextId): Promise<ReadonlySet<string>> {
    const members = await listMembers(this.#database, contextId);
    return new Set(members.map(({ publicKey }) => publicKey));
  }

  async findRequest(lane: Lane, requestId: string): Promise<KnownRequest | null> {
    const logged = await readRequest(this.#database, lane.contextKey, lane.contextId, requestId);
    if (logged === null) return null;
    return knownRequestOf(logged, fingerprintOfCall(logged));
  }

  async writeSnapshot(lane: Lane, head: Head, entries: readonly StateEntry[]): Promise<void> {
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

  async #sendState(lane: Lane, slot: WorkerSlot, upTo: bigint): Promise<void> {
    const { contextId, contextKey } = lane;
    const from = await this.#sendSnapshot(contextId, contextKey, slot);
    const range = { from, to: upTo };
    for await (const changes of streamChanges(this.#database, contextKey, range)) {
      if (changes.length > 0) slot.send({ kind: 'apply', contextId, changes });
    }
  }

  /** Sends the newest snapshot that the log confirms; returns its sequence, or 0. */
  async #sendSnapshot(contextId: ContextId, contextKey: bigint, slot: WorkerSlot): Promise<bigint> {
    const snapshot = await loadSnapshot(this.#database, contextKey);
    if (snapshot === null) return 0n;
    const [at] = await readTransactions(this.#database, contextKey, contextId, {
      from: snapshot.sequence,
      limit: 1,
      to: snapshot.sequence,
    });
    // A snapshot is taken ahead of the commit, so it may show a transaction that was rolled back.
    if (at === undefined || Buffer.compare(at.seal, snapshot.seal) !== 0) return 0n;
    const entries = [...snapshot.state];
    for (let i = 0; i < entries.length; i += ENTRIES_PER_MESSAGE) {
      slot.send({ kind: 'load', contextId, entries: entries.slice(i, i + ENTRIES_PER_MESSAGE) });
    }
    return snapshot.sequence;
  }
}

function knownRequestOf(
  logged: Pick<LoggedRequest, 'status' | 'output' | 'error' | 'fuelUsed' | 'sequence' | 'hash'>,
  fingerprint: string,
): KnownRequest {
  const { status, output, error, fuelUsed, sequence, hash } = logged;
  const reply = { outcome: { status, output, error, fuelUsed }, sequence, hash };
  return { fingerprint, reply, bytes: bytesOf({ output, error }) };
}
