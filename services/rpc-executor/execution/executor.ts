import type { Logger } from 'pino';
import { AppError } from '#shared/domain/app-error.ts';
import { ZERO_ID } from '#shared/domain/ids.ts';
import { encodeFork } from '#shared/protocol/fork.ts';
import { encodeUpgrade } from '#shared/protocol/upgrade.ts';
import type { ContextId, PublicKey } from '#shared/domain/ids.ts';
import { GENESIS, type TransactionRequest } from '#shared/domain/transaction.ts';
import {
  type ExecuteReply,
  type ExecuteRequest,
  partitionOf,
} from '#shared/protocol/internal-messages.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import type { Database } from '#shared/store/database.ts';
import type { ForkPoint } from '#shared/store/fork-point.ts';
import type { Fence } from '#shared/store/log-append.ts';
import { createContext, findContext } from '#shared/store/transaction-log.ts';
import type { Clock } from '#shared/util/clock.ts';
import type { Random } from '#shared/util/random.ts';
import type { Committer } from '../commit/committer.ts';
import type { PartitionOwner } from '../partitions/partition-owner.ts';
import { UnderWay } from '../partitions/under-way.ts';
import type { FuelBudgets } from './fuel-budgets.ts';
import { Lane } from './lane.ts';
import { replyOfRun } from './lane-reply.ts';
import type { LaneStore } from './lane-store.ts';
import type { AppendedRow, Ran, Run } from './run-messages.ts';
import { WorkerLostError, type WorkerPool, type WorkerSlot } from './worker-pool.ts';

type Create = Extract<ExecuteRequest, { kind: 'create' }>;
type Fork = Extract<ExecuteRequest, { kind: 'fork' }>;
type Upgrade = Extract<ExecuteRequest, { kind: 'upgrade' }>;
/** Signs for nobody: a tombstone needs no member. */
const NOBODY = ZERO_ID as PublicKey;

export interface ExecutorOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly pool: WorkerPool;
  readonly committer: Committer;
  readonly owner: PartitionOwner;
  readonly store: LaneStore;
  /** Bytes in memory over all contexts; the idle ones used least recently are dropped above it. */
  readonly stateBytesMax: number;
  readonly laneQueueMax: number;
  /** Fuel that one call may use. */
  readonly fuelPerCallMax: number;
  /** A call that uses so much fuel takes its context to the thread of heavy ones. */
  readonly heavyCallFuel: number;
  readonly budgets: FuelBudgets;
  readonly onExecuted: (fuelUsed: bigint) => void;
  /** How long a context's calls are refused after one that took too long. */
  readonly holdBackMs: number;
  /** Requests waiting over all contexts; more are refused as overloaded. */
  readonly queueMax: number;
  readonly onCreated: (contextId: ContextId, init: AppendedRow) => void;
}

/** What a lane itself takes beside the state of its context; an estimate. */
const LANE_BYTES = 16_384;
/** How long a context stays among the heavy ones after its last heavy call. */
const HEAVY_MS = 60_000;
const MODES = {
  query: 'query',
  mutate: 'append',
  execute: 'append-if-changed',
  play: 'append',
} as const;

/** Brings each request to the lane of its context; opens and evicts lanes. */
export class Executor {
  readonly #options: ExecutorOptions;
  /** Insertion order is least recently used first. */
  readonly #lanes = new Map<ContextId, Promise<Lane>>();
  readonly #open = new Map<ContextId, Lane>();
  readonly #creating = new Set<ContextId>();
  /** When each context on the thread of heavy ones was seen to be heavy last. */
  readonly #heavySinceMs = new Map<Lane, number>();
  #waiting = 0;
  readonly #underWay = new UnderWay();
  #stateBytes = 0;
  #evicting = false;

  constructor(options: ExecutorOptions) {
    this.#options = options;
  }

  get laneCount(): number {
    return this.#open.size;
  }

  /** Runs a request on a partition of ours. Throws AppErrors; never leaves half a mutation. */
  async execute(request: ExecuteRequest): Promise<ExecuteReply> {
    if (this.#waiting >= this.#options.queueMax) {
      throw new AppError('overloaded', 'the executor has too many requests waiting, try again');
    }
    const partition = partitionOf(request.contextId);
    this.#waiting += 1;
    this.#underWay.enter(partition);
    try {
      if (request.kind === 'create' || request.kind === 'fork') return await this.#create(request);
      const lane = this.#openLaneOf(request.contextId) ?? (await this.#laneOf(request.contextId));
      if (request.kind === 'delete') {
        return await lane.submit(this.#deleteRequest(lane, request.principal), 'append');
      }
      if (request.kind === 'upgrade') return await this.#upgrade(lane, request);
      const { kind, contextId, method, payload, principal, requestId } = request;
      const { budgets } = this.#options;
      if (!budgets.isEmpty) await budgets.demand(contextId, principal);
      const asked = request.executorPublicKey;
      const executorPublicKey = knownExecutorOf(lane, asked) ?? (await executorOf(lane, asked));
      const drawn = this.#draw(payload, executorPublicKey);
      const run = { ...drawn, kind: kind === 'query' ? 'execute' : kind, method } as const;
      const call = { ...run, principal, requestId: kind === 'query' ? null : requestId };
      const reply = await lane.submit(call, MODES[kind]);
      const { fuelUsed } = reply.outcome;
      this.#options.onExecuted(fuelUsed);
      if (!budgets.isEmpty) await budgets.spend(contextId, principal, fuelUsed);
      return reply;
    } finally {
      this.#waiting -= 1;
      this.#underWay.leave(partition);
    }
  }

  /** Resolves once everything is answered that was asked of the partition. */
  drained(partition: number): Promise<void> {
    return this.#underWay.drained(partition);
  }

  /** Drops the lanes of a partition that went to another owner. */
  dropPartition(partition: number): void {
    for (const lane of this.#open.values()) {
      if (lane.partition === partition) lane.close('stale_epoch');
    }
  }

  closeAll(): void {
    for (const lane of this.#open.values()) lane.close('unavailable');
  }

  #openLaneOf(contextId: ContextId): Lane | undefined {
    const lane = this.#open.get(contextId);
    if (lane === undefined) return undefined;
    lane.lastUsed = this.#options.clock.monotonicMs();
    this.#comeHome(lane);
    return lane;
  }

  #laneOf(contextId: ContextId): Promise<Lane> {
    return this.#lanes.get(contextId) ?? this.#openLane(contextId);
  }

  #openLane(contextId: ContextId): Promise<Lane> {
    const opening = this.#load(contextId);
    this.#lanes.set(contextId, opening);
    opening.catch(() => {
      if (this.#lanes.get(contextId) === opening) this.#lanes.delete(contextId);
    });
    return opening;
  }

  async #load(contextId: ContextId): Promise<Lane> {
    const lane = this.#newLane(contextId);
    try {
      await lane.open();
    } catch (error) {
      lane.close('unavailable');
      throw error;
    }
    this.#open.set(contextId, lane);
    lane.lastUsed = this.#options.clock.monotonicMs();
    return lane;
  }

  #newLane(contextId: ContextId): Lane {
    const { owner, pool, committer, store, log, laneQueueMax } = this.#options;
    const partition = partitionOf(contextId);
    const epoch = owner.epochOf(partition);
    if (epoch === null) throw new AppError('stale_epoch', 'this executor does not own the context');
    return new Lane({
      contextId,
      partition,
      epoch,
      slot: pool.slotOf(contextId),
      committer,
      store,
      queueMax: laneQueueMax,
      holdBackMs: this.#options.holdBackMs,
      isLeaseValid: () => owner.isValid(partition),
      onResized: (bytes) => this.#resized(bytes),
      heavyCallFuel: BigInt(this.#options.heavyCallFuel),
      onHeavyCall: (lane) => {
        this.#heavySinceMs.set(lane, this.#options.clock.monotonicMs());
        lane.move(pool.heavySlot);
      },
      onClosed: (lane) => {
        this.#heavySinceMs.delete(lane);
        if (this.#open.get(contextId) === lane) {
          this.#open.delete(contextId);
          this.#lanes.delete(contextId);
        }
      },
      onLogs: (id, logs) => log.info({ contextId: id, logs }, 'application logged'),
    });
  }

  /** A heavy context that was light for a while goes back among the others. */
  #comeHome(lane: Lane): void {
    const heavyMs = this.#heavySinceMs.get(lane);
    if (heavyMs === undefined || lane.lastUsed - heavyMs < HEAVY_MS) return;
    this.#heavySinceMs.delete(lane);
    lane.move(this.#options.pool.slotOf(lane.contextId));
  }

  #resized(bytes: number): void {
    this.#stateBytes += bytes;
    if (this.#stateBytes + this.#open.size * LANE_BYTES <= this.#options.stateBytesMax) return;
    if (this.#evicting) return;
    this.#evicting = true;
    setImmediate(() => {
      this.#evicting = false;
      this.#evict();
    });
  }

  /** Closes the least recently used idle lanes while the state in memory is over its budget. */
  #evict(): void {
    const idle = [...this.#open.values()].filter((lane) => lane.isIdle);
    idle.sort((a, b) => a.lastUsed - b.lastUsed);
    for (const lane of idle.slice(0, -1)) {
      const bytes = this.#stateBytes + this.#open.size * LANE_BYTES;
      if (bytes <= this.#options.stateBytesMax) return;
      lane.close('unavailable');
    }
  }

  /** Only when its first transaction succeeds is there a context, together with its log. */
  async #create(request: Create | Fork): Promise<ExecuteReply> {
    const { database } = this.#options;
    const { contextId } = request;
    if (this.#lanes.has(contextId) || this.#creating.has(contextId)) throw alreadyExists();
    this.#creating.add(contextId);
    try {
      if ((await findContext(database, contextId)) !== null) throw alreadyExists();
      return await this.#createNew(request);
    } finally {
      this.#creating.delete(contextId);
    }
  }

  async #createNew(request: Create | Fork): Promise<ExecuteReply> {
    const { owner, pool } = this.#options;
    const { contextId } = request;
    const partition = partitionOf(contextId);
    const epoch = owner.epochOf(partition);
    if (epoch === null) throw new AppError('stale_epoch', 'this executor does not own the context');
    const fence = { partition, epoch };
    const creating =
      request.kind === 'fork' ? this.#runFork(request, fence) : this.#runInit(request, fence);
    const opening = creating.then(() => this.#load(contextId));
    opening.catch(() => {
      if (this.#lanes.get(contextId) === opening) this.#lanes.delete(contextId);
    });
    this.#lanes.set(contextId, opening);
    try {
      const ran = await creating;
      if (ran.appended !== null) this.#options.onCreated(contextId, ran.appended);
      return replyOfRun(ran);
    } finally {
      if (!this.#open.has(contextId)) {
        const slot = pool.slotOf(contextId);
        await opening.catch(() => slot.send({ kind: 'close', contextId }));
      }
    }
  }

  /** Runs `init` on empty state. */
  async #runInit(request: Create, fence: Fence): Promise<Ran> {
    const { pool, store } = this.#options;
    const { contextId, applicationId } = request;
    const slot = pool.slotOf(contextId);
    await store.sendProgram(applicationId, slot);
    slot.send({ kind: 'open', contextId, applicationId, head: GENESIS, rootHash: null });
    const drawn = this.#draw(request.payload, request.memberPublicKey);
    const { principal } = request;
    const asked = { ...drawn, kind: 'init', method: 'init', principal, requestId: null } as const;
    return await this.#runFirst(asked, { ...request, ...fence, applicationId });
  }

  /** Goes on from the state that another context had. */
  async #runFork(request: Fork, fence: Fence): Promise<Ran> {
    const { pool, store } = this.#options;
    const { contextId, principal } = request;
    const forkOf = await store.openFork(request, pool.slotOf(contextId));
    const { applicationId, head } = forkOf;
    const payload = encodeFork({ contextId: forkOf.contextId, sequence: head.sequence });
    const drawn = this.#draw(payload, request.memberPublicKey);
    const asked = { ...drawn, kind: 'fork', method: '', principal, requestId: null } as const;
    return await this.#runFirst(asked, { ...request, ...fence, applicationId, forkOf });
  }

  async #runFirst(
    asked: TransactionRequest,
    created: Fence &
      Pick<Create, 'contextId' | 'applicationId' | 'memberPublicKey' | 'sealedPrivateKey'> & {
        readonly forkOf?: ForkPoint;
      },
  ): Promise<Ran> {
    const { database, pool } = this.#options;
    const { contextId, memberPublicKey, sealedPrivateKey } = created;
    const run: Run = { contextId, request: asked, mode: 'append-if-ok' };
    const ran = await runOn(pool.slotOf(contextId), run);
    if (ran.appended === null) {
      throw new AppError('function_call_failed', ran.outcome.error ?? 'init failed');
    }
    const result = await createContext(database, {
      ...created,
      row: ran.appended.row,
      stateBytes: ran.stateBytes,
      member: { publicKey: memberPublicKey, sealedPrivateKey },
    });
    if (result.kind === 'exists') throw alreadyExists();
    if (result.kind === 'fenced') {
      throw new AppError('stale_epoch', 'this executor does not own the context');
    }
    return ran;
  }

  #draw(payload: Uint8Array, executorPublicKey: PublicKey) {
    return {
      payload,
      executorPublicKey,
      timeNs: this.#options.clock.nowNs(),
      randomSeed: this.#options.random(32),
      executionVersion: EXECUTION_VERSION,
      fuelLimit: BigInt(this.#options.fuelPerCallMax),
    };
  }

  /** The program is on the worker before the lane runs it. */
  async #upgrade(lane: Lane, request: Upgrade): Promise<ExecuteReply> {
    const { applicationId, migrationMethod, principal } = request;
    const executorPublicKey = await executorOf(lane, request.executorPublicKey);
    await this.#options.store.sendProgram(applicationId, lane.slot);
    const from = lane.applicationId;
    if (from === null) throw new AppError('unavailable', 'the context is not loaded yet');
    const drawn = this.#draw(encodeUpgrade({ from, to: applicationId }), executorPublicKey);
    const method = migrationMethod ?? '';
    return await lane.submit(
      { ...drawn, kind: 'upgrade', method, principal, requestId: null },
      'append-if-ok',
    );
  }

  #deleteRequest(lane: Lane, principal: string): TransactionRequest {
    const drawn = this.#draw(new Uint8Array(), lane.defaultExecutor ?? NOBODY);
    return { ...drawn, kind: 'delete', method: '', principal, requestId: null };
  }
}

function alreadyExists(): AppError {
  return new AppError('conflict', 'Context already exists on node.');
}

function runOn(slot: WorkerSlot, run: Run): Promise<Ran> {
  return new Promise((ran, failed) => slot.run(run, { ran, failed })).catch((error: unknown) => {
    if (error instanceof WorkerLostError) throw new AppError('unavailable', error.message);
    throw error;
  }) as Promise<Ran>;
}

/** As `executorOf`, when nobody has to be asked. */
function knownExecutorOf(lane: Lane, asked: PublicKey | null): PublicKey | null {
  if (asked === null) return lane.defaultExecutor;
  return lane.isMember(asked) ? asked : null;
}

/** The identity that runs a call: one of the context's members, or the node's own in it. */
async function executorOf(lane: Lane, asked: PublicKey | null): Promise<PublicKey> {
  if (asked === null) {
    if (lane.defaultExecutor !== null) return lane.defaultExecutor;
    throw new AppError('forbidden', 'this node has no identity in the context', {
      contextId: lane.contextId,
    });
  }
  if (!lane.isMember(asked)) await lane.refreshMembers();
  if (lane.isMember(asked)) return asked;
  throw new AppError('forbidden', 'the executor is not an identity of this node in the context', {
    contextId: lane.contextId,
    publicKey: asked,
  });
}
