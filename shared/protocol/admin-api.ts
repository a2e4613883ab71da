import { z } from 'zod';
import { ENGINES, type Engine } from '#shared/domain/engine.ts';

/**
 * Shapes of the Admin API (Calimero node server). Where its generations differ only in the casing
 * or the wrapping of a field, an answer carries both: clients ignore what they do not know.
 */

/** What runs it; left out, the file's first bytes or its name tell. */
const engine = z.enum(ENGINES).nullish();

/** Bytes travel as arrays of numbers. */
const bytes = z.array(z.int().min(0).max(255)).transform((numbers) => Uint8Array.from(numbers));

export const installApplicationSchema = z.object({
  url: z.string(),
  /** Base58 of the SHA-256 of the whole file. */
  hash: z.string().nullish(),
  metadata: bytes.default(new Uint8Array()),
  engine,
});

export const installDevApplicationSchema = z.object({
  /** Absolute path of a file on the node's machine. */
  path: z.string(),
  metadata: bytes.default(new Uint8Array()),
  engine,
});

export const uninstallApplicationSchema = z.object({ applicationId: z.string() });

export const createContextSchema = z.object({
  applicationId: z.string(),
  /** 32 bytes in base58 that the context's key, and so its id, is made of. */
  contextSeed: z.string().nullish(),
  initializationParams: bytes.default(new Uint8Array()),
});

export const forkContextSchema = z.object({
  /** The last one that the fork shares, as a decimal string; the head when it is left out. */
  sequence: z
    .string()
    .regex(/^[1-9]\d{0,18}$/)
    .nullish(),
  /** 32 bytes in base58 that the new context's key, and so its id, is made of. */
  contextSeed: z.string().nullish(),
});

export const upgradeContextSchema = z.object({
  applicationId: z.string(),
  executorPublicKey: z.string().nullish(),
  /** A method of the new application that changes the state to its form. */
  migrationMethod: z.string().min(1).nullish(),
});

export function applicationIdAnswer(applicationId: string) {
  return { applicationId, application_id: applicationId };
}

export interface ApplicationAnswer {
  readonly id: string;
  readonly blob: string;
  readonly size: number;
  readonly source: string;
  readonly metadata: readonly number[];
  readonly engine: Engine;
}

export function createContextAnswer(contextId: string, memberPublicKey: string) {
  return {
    contextId,
    context_id: contextId,
    memberPublicKey,
    member_public_key: memberPublicKey,
  };
}

export interface ContextAnswer {
  readonly id: string;
  readonly applicationId: string;
  readonly lastTransactionHash: string;
  /** The root that the guest committed last; the last transaction's hash where it never did. */
  readonly rootHash: string;
  /** Of a fork: the last place of its log that it shares, and who with. */
  readonly forkedFrom?: { readonly contextId: string; readonly sequence: string };
}
