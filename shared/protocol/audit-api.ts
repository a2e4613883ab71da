import { z } from 'zod';

/** Shapes of verifying and rehearsing, on the Admin API and between services. */

const sequence = z.string().regex(/^[1-9]\d{0,18}$/, 'a sequence is a decimal text from "1" on');

export const verifySchema = z.object({
  /** The first transaction to run again; 1 when left out. */
  from: sequence.nullish(),
  /** The last one; the head when left out. */
  to: sequence.nullish(),
});

export const rehearseSchema = z.object({
  /** What the transactions are run with, or the state is upgraded to. */
  applicationId: z.string(),
  /** The first transaction to run; the first since the last upgrade when left out. */
  from: sequence.nullish(),
  /** The last one; the head when left out. */
  to: sequence.nullish(),
  /** Runs this migration on the state behind `to`, instead of transactions. */
  migrationMethod: z.string().min(1).nullish(),
});

export const proofQuerySchema = z.strictObject({ sequence });

export const consistencyQuerySchema = z.strictObject({
  /** The size of the log in the earlier head. */
  from: sequence,
});

/** One field of a transaction, as the log has it and as it came out now; long values shortened. */
const differingField = z.object({
  field: z.string(),
  logged: z.string().nullable(),
  recomputed: z.string().nullable(),
});

/**
 * Where a log stops being what it should be, and why.
 *
 * - `gap`: a transaction is missing.
 * - `prior_hash`, `hash`, `seal`: the row was changed after it was written.
 * - `fork`: the log of a fork does not go on from the one that its context names.
 * - `head`: the context's own row does not say what its log says.
 * - `execution`: the row is what was sealed, but running it gives something else.
 * - `snapshot`: the state kept at this sequence is not the state there.
 */
const divergence = z.object({
  sequence: z.string(),
  kind: z.enum(['gap', 'prior_hash', 'hash', 'seal', 'fork', 'head', 'execution', 'snapshot']),
  message: z.string(),
  fields: z.array(differingField),
});

/** The state that the first transaction of a range was run on. */
const base = z.enum(['nothing', 'diffs', 'snapshot and diffs']);

const verification = z.object({
  outcome: z.enum(['verified', 'diverged', 'hung']),
  from: z.string(),
  to: z.string(),
  base,
  /** Transactions that came out as they are in the log. */
  verified: z.int(),
  divergence: divergence.nullable(),
  /** The transaction that ran for longer than the clock allows: nothing is said of what follows. */
  hungAt: z.string().nullable(),
});

const difference = z.object({ sequence: z.string(), fields: z.array(differingField) });

const rehearsal = z.object({
  outcome: z.enum(['same', 'different', 'migrated', 'migration failed']),
  from: z.string(),
  to: z.string(),
  base,
  /** Transactions that were run; tombstones, upgrades and forks are not. */
  compared: z.int(),
  same: z.int(),
  /** Of those that came out differently: in which field, and whether they fail now or no longer. */
  differing: z.object({
    status: z.int(),
    output: z.int(),
    events: z.int(),
    changes: z.int(),
    failsNow: z.int(),
    succeedsNow: z.int(),
  }),
  first: difference.nullable(),
  /** What the migration came to, when one was asked for. */
  migration: z
    .object({
      status: z.enum(['ok', 'failed']),
      error: z.string().nullable(),
      events: z.int(),
      changes: z.int(),
      fuelUsed: z.string(),
    })
    .nullable(),
});

/** A verification or rehearsal under way, or over. */
export const jobSchema = z.object({
  job: z.string(),
  contextId: z.string(),
  kind: z.enum(['verify', 'rehearse']),
  state: z.enum(['queued', 'running', 'done', 'aborted', 'failed']),
  /** Transactions behind it, of how many; null before it runs. */
  progress: z.object({ done: z.int(), of: z.int() }).nullable(),
  /** Milliseconds since it began to run, or that it ran. */
  elapsedMs: z.int(),
  verification: verification.nullable(),
  rehearsal: rehearsal.nullable(),
  /** Why it failed. */
  error: z.string().nullable(),
});

export type DifferingField = z.infer<typeof differingField>;
export type Divergence = z.infer<typeof divergence>;
export type ReplayBase = z.infer<typeof base>;
export type Verification = z.infer<typeof verification>;
export type Rehearsal = z.infer<typeof rehearsal>;
export type Job = z.infer<typeof jobSchema>;

/** What the `sync` service is asked to begin: the texts are checked by whoever asks. */
export type ReplayRequest = {
  readonly contextId: string;
  readonly from: string | null;
  readonly to: string | null;
} & (
  | { readonly kind: 'verify' }
  | {
      readonly kind: 'rehearse';
      readonly applicationId: string;
      readonly migrationMethod: string | null;
    }
);

/** What is asked of a job, of one context. */
export interface JobRequest {
  readonly contextId: string;
  readonly action: 'show' | 'abort';
}
