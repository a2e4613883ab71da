import { z } from 'zod';

/** Limits and times of the admin service. */
export const adminConfigSchema = z.strictObject({
  /** 32 bytes that encrypt identity private keys at rest. */
  secretKey: z.instanceof(Uint8Array).refine((key) => key.length === 32, '32 bytes are needed'),
  /** Largest JSON body. */
  bodyBytesMax: z.int().min(1).default(2_097_152),
  blobBytesMax: z.int().min(1).default(134_217_728),
  /** How long a URL may take to deliver the application. */
  downloadMs: z.int().min(1).default(30_000),
  /** How long an invitation to a context can be used. */
  invitationMs: z.int().min(1).default(604_800_000),
  /** Callers at once that logs and states of the past are read for. */
  historyReadsMax: z.int().min(1).default(8),
  /** How long such a caller may take nothing of its answer. */
  historyIdleMs: z.int().min(1).default(60_000),
  /** Proofs that are made at once; each may read all seals of a log the first time. */
  proofsMax: z.int().min(1).default(2),
  /** How long creating or deleting a context may take. */
  requestMs: z.int().min(1).default(30_000),
});

export type AdminConfig = Readonly<z.output<typeof adminConfigSchema>>;
