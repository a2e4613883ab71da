import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';
import type { Head } from '#shared/domain/transaction.ts';
import type { Database } from './database.ts';
import { FORK_DEPTH_MAX, type Lineage, partsWithin } from './lineage.ts';
import { readApplications, readTransactions } from './log-reader.ts';
import type { ContextRow } from './transaction-log.ts';

/** A place in a log that a fork can go on from, and all that a context is there but its state. */
export interface ForkPoint {
  /** The context whose row stands at the head: the one asked for, or a parent of it. */
  readonly contextKey: bigint;
  readonly contextId: ContextId;
  readonly head: Head;
  /** The log up to and with the head. */
  readonly lineage: Lineage;
  /** Those that run it, each once or more; the last one runs what follows. */
  readonly applications: readonly [ApplicationId, ...ApplicationId[]];
  readonly applicationId: ApplicationId;
  /** What the guest committed last, or null when it never did. */
  readonly rootHash: Uint8Array | null;
}

/** Throws AppError `invalid_request` for a sequence that the log does not have. */
export async function findForkPoint(
  database: Database,
  context: ContextRow,
  sequence: bigint,
): Promise<ForkPoint> {
  if (sequence < 1n || sequence > context.head.sequence) {
    const range = `1 to ${context.head.sequence}`;
    throw new AppError('invalid_request', `the context has sequences ${range}, not ${sequence}`);
  }
  const lineage = partsWithin(context.lineage, { from: 1n, to: sequence });
  if (lineage.length > FORK_DEPTH_MAX) {
    const reason = `a fork can have ${FORK_DEPTH_MAX} contexts above it at most`;
    throw new AppError('conflict', reason);
  }
  const part = lineage.at(-1);
  const [row] = await readTransactions(database, lineage, { from: sequence, limit: 1 });
  if (part === undefined || row === undefined) throw new Error('the log has no gap');
  const applications = await readApplications(database, context, sequence);
  return {
    contextKey: part.contextKey,
    contextId: part.contextId,
    head: { sequence, hash: row.hash, seal: row.seal },
    lineage,
    applications,
    applicationId: applications.at(-1) ?? applications[0],
    rootHash: await rootHashAt(database, context, lineage),
  };
}

/** The newest one in the log; who never committed one by now never did before either. */
async function rootHashAt(
  database: Database,
  { head, rootHash }: ContextRow,
  lineage: Lineage,
): Promise<Uint8Array | null> {
  if (rootHash === null || lineage.at(-1)?.last === head.sequence) return rootHash;
  for (const { contextKey, first, last } of lineage.toReversed()) {
    const row = await database.kysely
      .selectFrom('transactions')
      .select('root_hash')
      .where('context', '=', contextKey.toString())
      .where('sequence', '>=', first.toString())
      .where('sequence', '<=', last.toString())
      .where('root_hash', 'is not', null)
      .orderBy('sequence', 'desc')
      .executeTakeFirst();
    if (row !== undefined) return row.root_hash;
  }
  return null;
}
