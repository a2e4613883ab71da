import { z } from 'zod';

/** Limits and times of the sync service. */
export const syncConfigSchema = z.strictObject({
  /** Replays read logs in threads of their own, over connections of their own. */
  databaseUrl: z.string().min(1),
  /** A transaction that runs for longer is reported as hanging. */
  wallClockMs: z.int().min(10).default(30_000),
  /** Verifications and rehearsals that wait for their turn; more are refused. */
  jobsWaitingMax: z.int().min(1).default(16),
  /** What is over can be asked for as long as it is one of so many, and not older. */
  jobsKeptMax: z.int().min(1).default(256),
  jobKeptMs: z.int().min(1_000).default(3_600_000),
  /** Fuel of one call in a rehearsal, where the log has no limit of its own. */
  rehearsalFuelMax: z.int().min(1_000).default(1_000_000_000),
  /** The part of one core that the audit may take; 0 turns it off. */
  auditShare: z.number().min(0).max(1).default(0.05),
  /** Pause between two rounds over all contexts. */
  auditEveryMs: z.int().min(10).default(60_000),
  /** Transactions of one context in one go, before the next has its turn. */
  auditTransactionsMax: z.int().min(1).default(1_000_000),
  /** Transactions of an old range that is verified once more when nothing new is left. */
  auditSampleTransactions: z.int().min(1).default(10_000),
});

export type SyncConfig = Readonly<z.output<typeof syncConfigSchema>>;
