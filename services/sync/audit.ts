import { setTimeout } from 'node:timers/promises';
import type { Logger } from 'pino';
import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import type { Verification } from '#shared/protocol/audit-api.ts';
import {
  type AuditedContext,
  readAuditTime,
  readAuditTotals,
  saveDivergence,
  saveVerified,
  takeAuditedContext,
} from '#shared/store/audit-store.ts';
import type { Database } from '#shared/store/database.ts';
import type { Random } from '#shared/util/random.ts';
import type { SyncConfig } from './config.ts';
import type { createSyncMetrics } from './metrics.ts';
import type { Replays } from './replays.ts';

export interface AuditOptions {
  readonly config: SyncConfig;
  readonly database: Database;
  readonly random: Random;
  readonly log: Logger;
  readonly metrics: ReturnType<typeof createSyncMetrics>;
  readonly replays: Replays;
}

interface Range {
  readonly from: bigint;
  readonly to: bigint;
}

/** How often it is written down how far a long log was verified. */
const SAVE_EVERY = 50_000;

/**
 * Verifies all logs, over and over, in a small share of the time: first what no round has seen,
 * and when nothing of that is left, a range of the context that was not looked at for longest.
 */
export class Audit {
  readonly #options: AuditOptions;
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(options: AuditOptions) {
    this.#options = options;
  }

  start(): void {
    if (this.#options.config.auditShare > 0) this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** What a verification of a whole log tells, whoever asked for it. */
  async take(contextId: ContextId, verification: Verification): Promise<void> {
    const { database, log, metrics } = this.#options;
    const { outcome, from, to, divergence } = verification;
    if (outcome === 'verified' && from === '1') {
      await saveVerified(database, contextId, { sequence: BigInt(to), clears: true });
    }
    if (divergence !== null) {
      const isNew = await saveDivergence(database, contextId, divergence);
      if (isNew) metrics.divergences.inc();
      const { sequence, kind, message, fields } = divergence;
      log.error({ contextId, sequence, kind, fields }, `a log diverges: ${message}`);
    }
    metrics.show(await readAuditTotals(database));
  }

  async #run(): Promise<void> {
    const { config, log, replays } = this.#options;
    await this.#showKnown();
    for (;;) {
      await setTimeout(config.auditEveryMs, undefined, { signal: this.#stop.signal }).catch(
        () => undefined,
      );
      if (this.#stop.signal.aborted) return;
      try {
        await this.#round();
        await replays.release();
      } catch (error) {
        // Somebody asked for a replay, or Postgres is away: the next round goes on.
        if (this.#stop.signal.aborted) return;
        log.debug({ err: error }, 'a round of the audit was broken off');
      }
    }
  }

  /** A divergence that was found before a restart is one still. */
  async #showKnown(): Promise<void> {
    const { database, log, metrics } = this.#options;
    try {
      const totals = await readAuditTotals(database);
      metrics.divergences.inc(totals.divergent.length);
      metrics.show(totals);
    } catch (error) {
      log.warn({ err: error }, 'the state of the audit cannot be read');
    }
  }

  async #round(): Promise<void> {
    const { database, config, metrics } = this.#options;
    const before = await readAuditTime(database);
    let isFresh = false;
    for (;;) {
      const context = await takeAuditedContext(database, { before, which: 'behind' });
      if (context === null) break;
      isFresh = true;
      const { verifiedSequence, headSequence } = context;
      const last = verifiedSequence + BigInt(config.auditTransactionsMax);
      const to = headSequence < last ? headSequence : last;
      await this.#verify(context, { from: verifiedSequence + 1n, to });
    }
    if (!isFresh) {
      const context = await takeAuditedContext(database, { before, which: 'any' });
      if (context !== null) await this.#verify(context, this.#sampleOf(context));
    }
    metrics.show(await readAuditTotals(database));
  }

  async #verify(context: AuditedContext, range: Range): Promise<void> {
    const { log } = this.#options;
    const { contextId } = context;
    const verification = await this.#replay(context, range).catch((error: unknown) => {
      const isOfLog = error instanceof AppError && error.code !== 'unavailable';
      if (!isOfLog) throw error;
      log.warn({ err: error, contextId, ...textOf(range) }, 'a log could not be verified');
      return null;
    });
    if (verification === null) return;
    const { outcome, base, hungAt } = verification;
    if (outcome === 'hung') log.error({ contextId, sequence: hungAt }, 'a transaction hangs');
    if (outcome !== 'diverged') return;
    // The state that a range began on was not verified: what is wrong may have begun before it.
    const to = BigInt(verification.divergence?.sequence ?? range.to);
    const first = base === 'nothing' ? null : await this.#replay(context, { from: 1n, to });
    await this.take(contextId, first?.outcome === 'diverged' ? first : verification);
  }

  async #replay({ contextId, verifiedSequence }: AuditedContext, range: Range) {
    const { config, database, metrics, replays } = this.#options;
    const isNext = range.from === verifiedSequence + 1n;
    let counted = 0;
    let saved = 0;
    const save = async (done: number): Promise<void> => {
      saved = done;
      const sequence = verifiedSequence + BigInt(done);
      if (isNext) await saveVerified(database, contextId, { sequence, clears: false });
    };
    const count = (done: number) => {
      metrics.transactions.inc(done - counted);
      counted = done;
    };
    try {
      const result = await replays.runLast({
        task: { kind: 'verify', contextId, ...range, share: config.auditShare },
        signal: this.#stop.signal,
        onProgress: (done) => {
          count(done);
          if (done - saved >= SAVE_EVERY) void save(done).catch(() => undefined);
        },
      });
      if (result.kind !== 'verify') throw new AppError('internal', 'a verification was asked for');
      count(result.verification.verified);
      return result.verification;
    } finally {
      // What was verified stays so, also when somebody interrupts.
      await save(counted).catch(() => undefined);
    }
  }

  #sampleOf({ headSequence }: AuditedContext): Range {
    const { config, random } = this.#options;
    const drawn = Buffer.from(random(8)).readBigUInt64BE();
    const from = (drawn % headSequence) + 1n;
    const last = from + BigInt(config.auditSampleTransactions) - 1n;
    return { from, to: last < headSequence ? last : headSequence };
  }
}

function textOf({ from, to }: Range) {
  return { from: from.toString(), to: to.toString() };
}
