import { z } from 'zod';
import { secretBytes } from '#shared/config/secrets.ts';

/** Limits and times of the admin service. */
export const adminConfigSchema = z
  .strictObject({
    secretKey: secretBytes(32).describe('Encrypts identity private keys at rest.'),
    bodyBytesMax: z.int().min(1).default(2_097_152).describe('Largest JSON body.'),
    blobBytesMax: z.int().min(1).default(134_217_728).describe('Largest blob.'),
    downloadMs: z
      .int()
      .min(1)
      .default(30_000)
      .describe('How long a URL may take to deliver the application.'),
    invitationMs: z
      .int()
      .min(1)
      .default(604_800_000)
      .describe('How long an invitation to a context can be used.'),
    historyReadsMax: z
      .int()
      .min(1)
      .default(8)
      .describe('Callers at once that logs and states of the past are read for.'),
    historyIdleMs: z
      .int()
      .min(1)
      .default(60_000)
      .describe('How long such a caller may take nothing of its answer.'),
    proofsMax: z
      .int()
      .min(1)
      .default(2)
      .describe('Proofs that are made at once; each may read all seals of a log the first time.'),
    requestMs: z
      .int()
      .min(1)
      .default(30_000)
      .describe('How long creating or deleting a context may take.'),
  })
  .describe('The Admin API: applications, contexts, members, blobs.');

/** What stands in `[admin]`; the key that all services share has a section of its own. */
export const adminSection = adminConfigSchema.omit({ secretKey: true });

export type AdminConfig = Readonly<z.output<typeof adminConfigSchema>>;
