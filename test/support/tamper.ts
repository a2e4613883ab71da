import { sql } from 'kysely';
import { decodeId } from '#shared/crypto/base58.ts';
import { openTestDatabase } from './log.ts';
import type { TestDatabase } from './infra.ts';

/**
 * Changes the log as only the owner of the database can, with its triggers switched off. In
 * `change`, `$context` stands for the context's surrogate.
 */
export async function tamper(
  { ownerUrl }: TestDatabase,
  contextId: string,
  ...changes: readonly string[]
): Promise<void> {
  await using database = openTestDatabase(ownerUrl);
  const { rows } = await sql<{ context: string }>`SELECT context FROM contexts
    WHERE context_id = ${Buffer.from(decodeId(contextId))}`.execute(database.kysely);
  const key = rows[0]?.context;
  if (key === undefined) throw new Error('no such context');
  await database.kysely.transaction().execute(async (work) => {
    await sql`SET LOCAL session_replication_role = replica`.execute(work);
    for (const change of changes) {
      await sql.raw(change.replaceAll('$context', key)).execute(work);
    }
  });
}
