import type { BusResponder } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { JobRequest, ReplayRequest } from '#shared/protocol/audit-api.ts';
import { parseApplicationId, parseContextId } from '#shared/protocol/ids.ts';
import type { Service, ServiceDeps } from '#shared/service/service.ts';
import { findApplication } from '#shared/store/application-store.ts';
import { findContext } from '#shared/store/transaction-log.ts';
import { Audit } from './audit.ts';
import type { SyncConfig } from './config.ts';
import { Jobs } from './jobs.ts';
import { createSyncMetrics } from './metrics.ts';
import { demandRange } from './replay/feeder.ts';
import type { ReplayTask } from './replay/messages.ts';
import { Replays } from './replays.ts';

/** Verifies and rehearses logs when asked to, and audits all of them in the background. */
export function createSyncService(deps: ServiceDeps, config: SyncConfig): Service {
  const { bus, clock, database, log, random } = deps;
  const { databaseUrl, wallClockMs } = config;
  const metrics = createSyncMetrics(deps.metrics);
  const replays = new Replays({
    databaseUrl,
    databaseTls: config.databaseTls ?? null,
    wallClockMs,
  });
  const audit = new Audit({ config, database, random, log, metrics, replays });
  const responders = new Map<string, BusResponder>();
  const jobs: Jobs = new Jobs({
    config,
    clock,
    random,
    log,
    replays,
    onResult: async ({ contextId }, result) => {
      if (result.kind === 'verify') await audit.take(contextId, result.verification);
    },
    onAdded: (job) => {
      const subject = subjects.syncJob(job);
      const answer = async (payload: Uint8Array) =>
        encode(jobs.handle(job, decode<JobRequest>(payload)));
      responders.set(job, bus.respond(subject, null, answer));
    },
    onForgotten: (job) => {
      void responders.get(job)?.drain();
      responders.delete(job);
    },
  });
  let isStarted = false;

  return {
    name: 'sync',
    isReady: () => isStarted && bus.isConnected(),
    start: async () => {
      const start = async (payload: Uint8Array) =>
        encode(jobs.start(await taskOf(decode<ReplayRequest>(payload))));
      responders.set('start', bus.respond(subjects.syncStart, 'sync', start));
      audit.start();
      isStarted = true;
    },
    [Symbol.asyncDispose]: async () => {
      isStarted = false;
      await Promise.all([...responders.values()].map((responder) => responder.drain()));
      jobs.stop();
      await audit.stop();
      await replays[Symbol.asyncDispose]();
    },
  };

  /** Refuses at once what could only fail later. Throws AppErrors. */
  async function taskOf(request: ReplayRequest): Promise<ReplayTask> {
    const contextId = parseContextId(request.contextId);
    const context = await findContext(database, contextId);
    if (context === null) throw new AppError('context_not_found', 'Context not found');
    const from = request.from === null ? null : BigInt(request.from);
    const to = request.to === null ? null : BigInt(request.to);
    demandRange(context, from ?? 1n, to ?? context.head.sequence);
    const range = { contextId, from, to, share: 1 } as const;
    if (request.kind === 'verify') return { kind: 'verify', ...range };
    const applicationId = parseApplicationId(request.applicationId);
    if ((await findApplication(database, applicationId)) === null) {
      throw new AppError('application_not_installed', 'Application is not installed on node.');
    }
    const method = request.migrationMethod;
    return {
      kind: 'rehearse',
      ...range,
      applicationId,
      migration: method === null ? null : { method, timeNs: clock.nowNs(), randomSeed: random(32) },
      fuelLimit: BigInt(config.rehearsalFuelMax),
    };
  }
}

function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value));
}

/** Only services of this deployment send it. */
function decode<T>(payload: Uint8Array): T {
  return JSON.parse(Buffer.from(payload).toString()) as T;
}
