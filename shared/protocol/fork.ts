import { z } from 'zod';
import type { ContextId } from '#shared/domain/ids.ts';
import { parseContextId } from './ids.ts';

/** Where the log of a fork left that of another context. */
export interface Fork {
  /** The context whose row stands at `sequence`. */
  readonly contextId: ContextId;
  readonly sequence: bigint;
}

/** The payload of a `fork`: `{"contextId":"…","sequence":"…"}`. */
export function encodeFork({ contextId, sequence }: Fork): Uint8Array {
  return Buffer.from(JSON.stringify({ contextId, sequence: sequence.toString() }));
}

/** Throws when the payload is anything else. */
export function decodeFork(payload: Uint8Array): Fork {
  const { contextId, sequence } = forkSchema.parse(JSON.parse(Buffer.from(payload).toString()));
  return { contextId: parseContextId(contextId), sequence: BigInt(sequence) };
}

const forkSchema = z.strictObject({
  contextId: z.string(),
  sequence: z.string().regex(/^[1-9]\d{0,18}$/),
});
