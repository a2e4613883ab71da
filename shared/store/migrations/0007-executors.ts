import { type Kysely, sql } from 'kysely';

/** rolling: safe. An executor that does not register counts as none, and its share is taken over. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const statements = [
    `CREATE TABLE executors (
       owner text PRIMARY KEY,
       expires_at timestamptz NOT NULL,
       started_at timestamptz NOT NULL DEFAULT now())`,
    // Makes the epoch a key: who raises it waits for commits that hold it FOR KEY SHARE, and they
    // for it, while a renewal, which changes no key, waits for nobody.
    `CREATE UNIQUE INDEX partitions_fence ON partitions (partition, epoch)`,
    `COMMENT ON TABLE executors IS
       'Who would own partitions: each of those that live gets an equal share.'`,
    `COMMENT ON COLUMN executors.expires_at IS
       'Until then it lives; renewed together with its leases.'`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
