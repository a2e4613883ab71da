import { type Kysely, sql } from 'kysely';

/** rolling: safe (an old executor finds a gap in the log of a fork, and refuses to load it). */
export async function up(db: Kysely<unknown>): Promise<void> {
  const statements = [
    `ALTER TABLE contexts
       ADD COLUMN parent_context int8,
       ADD COLUMN fork_sequence int8,
       ADD CONSTRAINT fork_is_whole CHECK ((parent_context IS NULL) = (fork_sequence IS NULL))`,
    `COMMENT ON COLUMN contexts.parent_context IS
       'Of a fork: the context whose rows it shares up to fork_sequence.'`,
    `COMMENT ON COLUMN contexts.fork_sequence IS
       'Of a fork: the last sequence that it shares; its own rows follow.'`,
    // Compressed, a slice of it would cost as much as all that comes before it.
    `ALTER TABLE snapshots ALTER COLUMN state SET STORAGE EXTERNAL`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
