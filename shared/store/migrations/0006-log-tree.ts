import { type Kysely, sql } from 'kysely';

/** rolling: safe (new tables). */
export async function up(db: Kysely<unknown>): Promise<void> {
  const statements = [
    `CREATE TABLE log_subtrees (
       context int8 NOT NULL,
       position int8 NOT NULL CHECK (position >= 0),
       root bytea NOT NULL,
       PRIMARY KEY (context, position))`,
    `CREATE TABLE audit_progress (
       context int8 PRIMARY KEY,
       verified_sequence int8 NOT NULL,
       checked_at timestamptz NOT NULL,
       divergent_sequence int8,
       divergence jsonb)`,
    `COMMENT ON TABLE log_subtrees IS
       'Roots of the complete subtrees of 1 024 seals of a log, for proofs; written once, disposable.'`,
    `COMMENT ON COLUMN log_subtrees.position IS
       'The subtree is over the seals of sequences 1024 * position + 1 to 1024 * (position + 1).'`,
    `COMMENT ON TABLE audit_progress IS 'How far the audit has verified each log, and what it found.'`,
    `COMMENT ON COLUMN audit_progress.verified_sequence IS
       'All transactions up to this one were verified by execution.'`,
    `COMMENT ON COLUMN audit_progress.checked_at IS 'When the audit last took the context up.'`,
    `COMMENT ON COLUMN audit_progress.divergent_sequence IS
       'The first transaction that is not what it should be, or null; verifying the whole log clears it.'`,
    `COMMENT ON COLUMN audit_progress.divergence IS 'What is wrong there, as the API tells it.'`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
