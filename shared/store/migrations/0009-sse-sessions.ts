import { type Kysely, sql } from 'kysely';

/** rolling: safe */
export async function up(db: Kysely<unknown>): Promise<void> {
  const statements = [
    `CREATE TABLE sse_sessions (
       session_id text PRIMARY KEY,
       principal text NOT NULL,
       next_slot int4 NOT NULL DEFAULT 0,
       subscriptions jsonb NOT NULL DEFAULT '{}',
       created_at timestamptz NOT NULL DEFAULT now(),
       expires_at timestamptz NOT NULL)`,
    `CREATE INDEX sse_sessions_expiry ON sse_sessions (expires_at)`,
    `CREATE INDEX sse_sessions_principal ON sse_sessions (principal)`,
    `COMMENT ON TABLE sse_sessions IS
       'What clients of server-sent events listen to, so that any replica can go on with it.'`,
    `COMMENT ON COLUMN sse_sessions.subscriptions IS
       'By slot: contextId, since (last sequence that the client is known to have) and kinds.'`,
    `COMMENT ON COLUMN sse_sessions.next_slot IS 'Slots are never used again.'`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
