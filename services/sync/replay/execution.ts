import type { ApplicationId } from '#shared/domain/ids.ts';
import { GENESIS, type Outcome, type TransactionRequest } from '#shared/domain/transaction.ts';
import type { Divergence, Rehearsal } from '#shared/protocol/audit-api.ts';
import { decodeChanges } from '#shared/protocol/seal.ts';
import { changesBytes, eventsBytes } from '#shared/protocol/seal-encoding.ts';
import { ContextState } from '#shared/runtime/context-state.ts';
import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import type { Program } from '#shared/runtime/runtime.ts';
import { CopyRows } from '#shared/store/copy-rows.ts';
import { DIFF, LOG, type LogPage } from '#shared/store/log-pages.ts';
import { stateHashOf } from '#shared/store/snapshot-hashes.ts';
import { differingFields } from './describe.ts';
import { LogRows, LogTexts } from './log-rows.ts';
import type { ReplayPlan, ReplayResult, ToExecutor } from './messages.ts';
import { RehearsalCount } from './rehearsal-count.ts';

export interface ExecutionOptions {
  readonly plan: ReplayPlan;
  readonly programOf: (applicationId: ApplicationId) => Program;
  /** Called with the sequence of each transaction before it is run. */
  readonly onRun: (sequence: bigint) => void;
}

type Rows = Extract<ToExecutor, { kind: 'rows' }>;
type Result = ReplayResult | null;
/** An encoding of no events, or no changes. */
const NONE_BYTES = 4;
/** What a rehearsal leaves out: they are about this log, not about an application. */
const NOT_REHEARSED: ReadonlySet<string> = new Set(['upgrade', 'fork', 'delete']);

/**
 * Runs the transactions of a log again, on the state that came before them, and holds what comes
 * of each against what the log says came of it.
 */
export class Execution {
  readonly #options: ExecutionOptions;
  readonly #state: ContextState;
  readonly #texts = new LogTexts();
  readonly #rehearsed = new RehearsalCount();
  #migration: Rehearsal['migration'] = null;
  #verified = 0;

  constructor(options: ExecutionOptions) {
    this.#options = options;
    const { plan, programOf } = options;
    const { applicationId, firstContextId: contextId } = plan;
    const program = programOf(applicationId);
    this.#state = new ContextState({
      contextId,
      program,
      programOf,
      head: GENESIS,
      rootHash: null,
    });
  }

  /** Transactions that were run so far. */
  get done(): number {
    return this.#verified + this.#rehearsed.compared;
  }

  load(entries: readonly (readonly [key: string, value: Uint8Array])[]): void {
    for (const [key, value] of entries) this.#state.put(key, value);
  }

  apply({ bytes }: LogPage): void {
    const rows = new CopyRows(DIFF, bytes);
    while (rows.next()) {
      for (const { key, value } of decodeChanges(rows.bytes(DIFF.changes))) {
        // A copy: the page must not live for as long as one of its values.
        const kept = value === null ? null : Uint8Array.from(value);
        this.#state.put(Buffer.from(key).toString('latin1'), kept);
      }
    }
  }

  /** Gives the result once there is no need to go on. */
  run(message: Rows): Result {
    const log = new LogRows(message.page, this.#texts);
    // From here on it is the log of a fork of what came before.
    if (log.contextId !== this.#state.contextId) this.#state.forkTo(log.contextId);
    return this.#options.plan.kind === 'verify' ? this.#verify(log, message) : this.#rehearse(log);
  }

  migrate(request: TransactionRequest): void {
    this.#options.onRun(this.#options.plan.to);
    const { outcome } = this.#state.run(request, false);
    const { status, error, events, changes, fuelUsed } = outcome;
    this.#migration = {
      status,
      error,
      events: events.length,
      changes: changes.length,
      fuelUsed: fuelUsed.toString(),
    };
  }

  finish(broken: Divergence | null): ReplayResult {
    const { plan } = this.#options;
    if (plan.kind === 'verify') return verificationOf(plan, this.#verified, broken);
    const migration = this.#migration;
    const { counts } = this.#rehearsed;
    const outcome = this.#rehearsed.outcomeWith(migration);
    return { kind: 'rehearse', rehearsal: { ...rangeOf(plan), ...counts, outcome, migration } };
  }

  #verify(log: LogRows, { broken, snapshots }: Rows): Result {
    const brokenAt = broken === null ? null : BigInt(broken.sequence);
    while (log.next()) {
      const { sequence } = log;
      if (broken !== null && brokenAt !== null && sequence >= brokenAt) {
        return this.finish(sequence === brokenAt ? this.#explained(broken, log) : broken);
      }
      this.#options.onRun(sequence);
      const request = log.request();
      const { outcome } = this.#state.run(request, false);
      if (!isAsLogged(outcome, log)) return this.finish(divergenceOf(outcome, log));
      this.#state.follow(request, outcome);
      this.#verified += 1;
      if (snapshots.length === 0) continue;
      const wrong = this.#wrongSnapshot(sequence, snapshots);
      if (wrong !== null) return this.finish(wrong);
    }
    return broken === null ? null : this.finish(broken);
  }

  /** What running the changed row gives tells which of its fields was changed. */
  #explained(broken: Divergence, log: LogRows): Divergence {
    try {
      this.#options.onRun(log.sequence);
      const { outcome } = this.#state.run(log.request(), false);
      const fields = differingFields(log.transaction(), outcome);
      return { ...broken, fields: [...broken.fields, ...fields] };
    } catch {
      // A row that was changed may be of no form that can be run.
      return broken;
    }
  }

  #wrongSnapshot(sequence: bigint, snapshots: Rows['snapshots']): Divergence | null {
    const snapshot = snapshots.find((each) => each.sequence === sequence);
    if (snapshot === undefined) return null;
    const stateHash = stateHashOf(this.#state.entries);
    if (Buffer.compare(stateHash, snapshot.stateHash) === 0) return null;
    const [logged, recomputed] = [snapshot.stateHash, stateHash].map((hash) =>
      Buffer.from(hash).toString('hex'),
    );
    return {
      sequence: sequence.toString(),
      kind: 'snapshot',
      message:
        'the snapshot kept at this sequence is not the state there: the log is right, but contexts are opened from the snapshot; delete it from the table snapshots',
      fields: [{ field: 'stateHash', logged: logged ?? null, recomputed: recomputed ?? null }],
    };
  }

  #rehearse(log: LogRows): Result {
    while (log.next()) {
      const { sequence } = log;
      if (NOT_REHEARSED.has(log.kind)) continue;
      this.#options.onRun(sequence);
      const logged = log.request();
      const request = {
        ...logged,
        executionVersion: EXECUTION_VERSION,
        fuelLimit: logged.fuelLimit === 0n ? this.#options.plan.fuelLimit : logged.fuelLimit,
      };
      const { outcome } = this.#state.run(request, false);
      this.#rehearsed.add(sequence, log.transaction(), outcome);
      this.#state.follow(request, outcome);
    }
    return null;
  }
}

/** The result of a verification that got to its end, or to a divergence. */
export function verificationOf(
  plan: ReplayPlan,
  verified: number,
  divergence: Divergence | null,
): ReplayResult {
  const outcome = divergence === null ? 'verified' : 'diverged';
  const verification = { ...rangeOf(plan), outcome, verified, divergence, hungAt: null } as const;
  return { kind: 'verify', verification };
}

export function rangeOf({ from, to, base }: ReplayPlan) {
  return { from: from.toString(), to: to.toString(), base };
}

/** Compares what is encoded in the row, without decoding it. */
function isAsLogged(outcome: Outcome, log: LogRows): boolean {
  const { rows } = log;
  const { events, changes } = outcome;
  return (
    outcome.status === log.status &&
    outcome.fuelUsed === rows.int8(LOG.fuel_used) &&
    outcome.error === log.error &&
    isSame(outcome.output, rows.optional(LOG.output)) &&
    isList(rows.bytes(LOG.events), events.length, () => eventsBytes(events)) &&
    isList(rows.bytes(LOG.changes), changes.length, () => changesBytes(changes)) &&
    isSame(outcome.rootHash, rows.optional(LOG.root_hash)) &&
    isSame(outcome.artifact, rows.optional(LOG.artifact))
  );
}

function isSame(a: Uint8Array | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : b.equals(a);
}

function isList(logged: Buffer, length: number, encode: () => Uint8Array): boolean {
  if (length === 0 && logged.length === NONE_BYTES) return logged.readUInt32BE() === 0;
  return logged.equals(encode());
}

function divergenceOf(outcome: Outcome, log: LogRows): Divergence {
  const fields = differingFields(log.transaction(), outcome);
  return {
    sequence: log.sequence.toString(),
    kind: 'execution',
    message: `the row is what was sealed, but running it gives another ${fields.map(({ field }) => field).join(', ')}`,
    fields,
  };
}
