import { availableParallelism, hostname } from 'node:os';
import type { BusSubscription } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import {
  type ExecuteReply,
  type ExecuteRequest,
  partitionOf,
} from '#shared/protocol/internal-messages.ts';
import { createAuthenticate } from '#shared/service/authenticate.ts';
import { OwnerRoutes, retryUntil } from '#shared/service/request-execution.ts';
import type { Service, ServiceDeps } from '#shared/service/service.ts';
import { sequenceOf } from '#shared/store/log-row.ts';
import { Announcer } from './commit/announcer.ts';
import { Committer } from './commit/committer.ts';
import type { ExecutorConfig } from './config.ts';
import { Executor } from './execution/executor.ts';
import { FuelBudgets } from './execution/fuel-budgets.ts';
import { LaneStore } from './execution/lane-store.ts';
import { WorkerPool } from './execution/worker-pool.ts';
import { createJsonRpcHandler } from './http.ts';
import { createExecutorMetrics } from './metrics.ts';
import { PartitionOwner } from './partitions/partition-owner.ts';
import { Responders } from './responders.ts';

/** JSON-RPC, partition leases, lanes and the append to the log. */
export function createRpcExecutorService(deps: ServiceDeps, config: ExecutorConfig): Service {
  const { bus, clock, database, log, random } = deps;
  const metrics = createExecutorMetrics(deps.metrics);
  const announcer = new Announcer(bus);
  let isReady = false;
  let changes: BusSubscription | undefined;

  const workers = config.workers ?? Math.max(1, availableParallelism() - 1);
  const pool = new WorkerPool({ size: workers, wallClockMs: config.wallClockMs, log });
  const committer = new Committer({
    database,
    log,
    rowsMax: config.batchRowsMax,
    bytesMax: config.batchBytesMax,
    batchesMax: config.batchesMax,
    recheck: () => owner.recheck(),
    onCommitted: (entries) => {
      metrics.batchRows.observe(entries.length);
      for (const { lane, row, notice, status } of entries) {
        metrics.transactions[status].inc();
        announcer.announce({ contextId: lane.contextId, sequence: sequenceOf(row) }, notice);
      }
    },
  });
  const owner: PartitionOwner = new PartitionOwner({
    database,
    clock,
    log,
    owner: config.owner ?? `${hostname()}-${Buffer.from(random(4)).toString('hex')}`,
    validMs: config.leaseValidMs,
    renewMs: config.leaseRenewMs,
    isReachable: () => bus.isConnected(),
    onReleased: announceChange,
    drain: async (partition) => {
      await responders.remove(partition);
      await executor.drained(partition);
    },
    onGained: (partition) => {
      responders.add(partition);
      announcer.announceTakeover(partition);
    },
    onLost: (partition, how) => {
      metrics.lost.inc({ how });
      void responders.remove(partition);
      executor.dropPartition(partition);
    },
  });
  const executor: Executor = new Executor({
    database,
    clock,
    random,
    log,
    pool,
    committer,
    owner,
    store: new LaneStore(database, config.snapshotEvery),
    stateBytesMax: config.stateBytesMax,
    laneQueueMax: config.laneQueueMax,
    fuelPerCallMax: config.fuelPerCallMax,
    heavyCallFuel: config.heavyCallFuel,
    budgets: new FuelBudgets({
      perContextMinute: config.fuelPerContextMinute,
      perPrincipalMinute: config.fuelPerPrincipalMinute,
    }),
    onExecuted: (fuelUsed) => metrics.fuel.observe(Number(fuelUsed)),
    holdBackMs: config.wallClockMs,
    queueMax: config.queueMax,
    onCreated: (contextId, { sequence, notice }) => {
      metrics.transactions.ok.inc();
      announcer.announce({ contextId, sequence }, notice);
    },
  });
  const responders = new Responders({
    bus,
    executor,
    log,
    id: Buffer.from(random(8)).toString('hex'),
    isOwned: (partition) => owner.epochOf(partition) !== null,
  });
  const routes = new OwnerRoutes();
  metrics.observe({
    lanes: () => executor.laneCount,
    partitions: () => owner.ownedCount,
    share: () => owner.share,
    queued: () => committer.queued,
  });

  const handle = createJsonRpcHandler({
    authenticate: createAuthenticate(deps),
    execute: route,
    bodyBytesMax: config.bodyBytesMax,
    batchMax: config.batchMax,
    log,
  });

  return {
    name: 'rpc-executor',
    door: { prefixes: ['/jsonrpc'], handle },
    isReady: () => isReady && bus.isConnected() && owner.isHealthy,
    start: async () => {
      changes = bus.subscribe(subjects.partitionsChanged, () => owner.wake());
      announcer.start();
      responders.start();
      await owner.start();
      announceChange();
      isReady = true;
    },
    [Symbol.asyncDispose]: async () => {
      isReady = false;
      changes?.unsubscribe();
      await owner.stop().catch((error: unknown) => log.warn({ err: error }, 'leases not released'));
      await responders.stop();
      const force = setTimeout(() => committer.abort(), config.leaseValidMs * 2);
      await committer.drain();
      clearTimeout(force);
      announcer.stop();
      executor.closeAll();
      await pool[Symbol.asyncDispose]();
    },
  };

  /** The owner here runs it at once; else it goes to the owner over the bus. */
  function route(request: ExecuteRequest): Promise<ExecuteReply> {
    const deadlineMs = clock.nowMs() + config.requestTimeoutMs;
    const partition = partitionOf(request.contextId);
    return retryUntil(clock, deadlineMs, () =>
      owner.epochOf(partition) === null
        ? routes.ask(bus, request, deadlineMs)
        : executor.execute(request),
    );
  }

  /** The other executors look at once, and not when they renew their leases. */
  function announceChange(): void {
    bus.publish(subjects.partitionsChanged, new Uint8Array());
  }
}
