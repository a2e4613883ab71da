import { type Kysely, sql } from 'kysely';

/**
 * rolling: safe. Postgres parses the checks again for each partition that a commit touches, which
 * is a fifth of its time; the append statement and the type of `status` rule out what they forbid.
 *
 * A column that is added to the log needs new types, beside these while older processes run.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  const statements = [
    `ALTER TABLE transactions
       DROP CONSTRAINT transactions_sequence_check, DROP CONSTRAINT transactions_status_check`,
    `CREATE TYPE log_row AS (
       context int8, sequence int8, hash bytea, seal bytea, prior_hash bytea, root_hash bytea,
       kind text, method text, payload bytea, executor_public_key bytea, principal text,
       request_id text, time_ns int8, random_seed bytea, fuel_limit int8, status text,
       output bytea, error text, events bytea, changes bytea, artifact bytea, fuel_used int8,
       execution_version int4)`,
    `CREATE TYPE log_head AS (
       context int8, sequence int8, hash bytea, seal bytea, first int8, prior_hash bytea,
       state_bytes int8, root_hash bytea, application_id bytea, is_deleted bool)`,
    `COMMENT ON TYPE log_row IS
       'A row of transactions as an append takes it: one parameter for a whole batch.'`,
    `COMMENT ON TYPE log_head IS
       'What an append expects of a context (first, prior_hash) and makes of its head.'`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
