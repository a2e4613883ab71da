import { z } from 'zod';
import type { TlsOptions } from '#shared/store/database.ts';

/** Limits and times of the sync service. */
export const syncSection = z
  .strictObject({
    wallClockMs: z
      .int()
      .min(10)
      .default(30_000)
      .describe('A transaction that is run again for longer is reported as hanging.'),
    jobsWaitingMax: z
      .int()
      .min(1)
      .default(16)
      .describe('Verifications and rehearsals that wait for their turn; more are refused.'),
    jobsKeptMax: z
      .int()
      .min(1)
      .default(256)
      .describe('How many that are over can still be asked for.'),
    jobKeptMs: z.int().min(1_000).default(3_600_000).describe('For how long they can.'),
    rehearsalFuelMax: z
      .int()
      .min(1_000)
      .default(1_000_000_000)
      .describe('Fuel of one call in a rehearsal, where the log has no limit of its own.'),
    auditShare: z
      .number()
      .min(0)
      .max(1)
      .default(0.05)
      .describe('The part of one core that the audit may take; 0 turns it off.'),
    auditEveryMs: z
      .int()
      .min(10)
      .default(60_000)
      .describe('Pause of the audit between two rounds over all contexts.'),
    auditTransactionsMax: z
      .int()
      .min(1)
      .default(1_000_000)
      .describe('Transactions of one context that the audit verifies in one go.'),
    auditSampleTransactions: z
      .int()
      .min(1)
      .default(10_000)
      .describe('Transactions of an old range that it verifies again when nothing new is left.'),
  })
  .describe('Verification, rehearsals and the audit.');

/** Replays read logs in threads of their own, over connections of their own. */
export type SyncConfig = Readonly<z.output<typeof syncSection>> & {
  readonly databaseUrl: string;
  readonly databaseTls?: TlsOptions | null;
};
