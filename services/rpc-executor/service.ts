import { subjects } from '#shared/bus/subjects.ts';
import type { BusSubscription } from '#shared/bus/bus.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import {
  decodeExecuteRequest,
  encodeExecuteReply,
  type ExecuteReply,
  type ExecuteRequest,
  partitionOf,
} from '#shared/protocol/internal-messages.ts';
import { encodeBeacon, encodeNotice, noticeOf } from '#shared/protocol/log-notice.ts';
import { createAuthenticate } from '#shared/service/authenticate.ts';
import { askOwner, retryUntil } from '#shared/service/request-execution.ts';
import type { Service, ServiceDeps } from '#shared/service/service.ts';
import { Committer } from './commit/committer.ts';
import type { ExecutorConfig } from './config.ts';
import { Executor } from './execution/executor.ts';
import { LaneStore } from './execution/lane-store.ts';
import { WorkerPool } from './execution/worker-pool.ts';
import { createJsonRpcHandler } from './http.ts';
import { createExecutorMetrics } from './metrics.ts';
import { PartitionOwner } from './partitions/partition-owner.ts';

const BEACON_MS = 1_000;

/** JSON-RPC, partition leases, lanes and the append to the log. */
export function createRpcExecutorService(deps: ServiceDeps, config: ExecutorConfig): Service {
  const { bus, clock, database, log, random } = deps;
  const metrics = createExecutorMetrics(deps.metrics);
  const moved = new Map<number, Map<ContextId, bigint>>();
  const responders = new Map<number, BusSubscription>();
  let isReady = false;
  let beaconTimer: NodeJS.Timeout | undefined;

  const pool = new WorkerPool({ size: config.workers, wallClockMs: config.wallClockMs, log });
  const committer = new Committer({
    database,
    log,
    rowsMax: config.batchRowsMax,
    batchesMax: config.batchesMax,
    recheck: () => owner.recheck(),
    onCommitted: (entries) => {
      metrics.batchRows.observe(entries.length);
      for (const { transaction } of entries) announce(transaction);
    },
  });
  const owner: PartitionOwner = new PartitionOwner({
    database,
    clock,
    log,
    owner: config.owner,
    validMs: config.leaseValidMs,
    renewMs: config.leaseRenewMs,
    onGained: respondFor,
    onLost: (partition) => {
      responders.get(partition)?.unsubscribe();
      responders.delete(partition);
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
    queueMax: config.queueMax,
    onCreated: announce,
  });
  metrics.observe({
    lanes: () => executor.laneCount,
    partitions: () => owner.ownedCount,
    queued: () => committer.queued,
  });

  const handle = createJsonRpcHandler({
    authenticate: createAuthenticate(bus, clock),
    execute: route,
    bodyBytesMax: config.bodyBytesMax,
  });

  return {
    name: 'rpc-executor',
    door: { prefixes: ['/jsonrpc'], handle },
    isReady: () => isReady && owner.ownedCount > 0,
    start: async () => {
      await owner.start();
      beaconTimer = setInterval(publishBeacons, BEACON_MS);
      isReady = true;
    },
    [Symbol.asyncDispose]: async () => {
      isReady = false;
      clearInterval(beaconTimer);
      for (const responder of responders.values()) responder.unsubscribe();
      const force = setTimeout(() => committer.abort(), config.leaseValidMs * 2);
      await committer.drain();
      clearTimeout(force);
      executor.closeAll();
      await owner.stop().catch((error: unknown) => log.warn({ err: error }, 'leases not released'));
      await pool[Symbol.asyncDispose]();
    },
  };

  /** The owner here runs it at once; else it goes to the owner over the bus. */
  function route(request: ExecuteRequest): Promise<ExecuteReply> {
    const deadlineMs = clock.nowMs() + config.requestTimeoutMs;
    const partition = partitionOf(request.contextId);
    return retryUntil(clock, deadlineMs, () =>
      owner.epochOf(partition) === null
        ? askOwner(bus, request, deadlineMs)
        : executor.execute(request),
    );
  }

  function respondFor(partition: number): void {
    const responder = bus.respond(subjects.execute(partition), null, async (payload) =>
      encodeExecuteReply(await executor.execute(decodeExecuteRequest(payload))),
    );
    responders.set(partition, responder);
  }

  function announce(transaction: Transaction): void {
    metrics.transactions.inc({ status: transaction.status });
    bus.publish(subjects.log(transaction.contextId), encodeNotice(noticeOf(transaction)));
    const partition = partitionOf(transaction.contextId);
    const heads = moved.get(partition) ?? new Map<ContextId, bigint>();
    heads.set(transaction.contextId, transaction.sequence);
    moved.set(partition, heads);
  }

  function publishBeacons(): void {
    for (const [partition, heads] of moved) {
      const beacon = [...heads].map(([contextId, sequence]) => ({ contextId, sequence }));
      bus.publish(subjects.beacon(partition), encodeBeacon(beacon));
    }
    moved.clear();
  }
}
