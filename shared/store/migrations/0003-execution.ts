import { type Kysely, sql } from 'kysely';

/**
 * rolling: safe. Executors without metering go on; what they write has execution version 0, and
 * applications are WebAssembly.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  const statements = [
    `ALTER TABLE transactions ADD COLUMN execution_version int4 NOT NULL DEFAULT 0`,
    `ALTER TABLE applications ADD COLUMN engine text NOT NULL DEFAULT 'wasm'`,
    `CREATE TABLE instrumented_modules (
       blob_id bytea NOT NULL REFERENCES blobs ON DELETE CASCADE,
       version text NOT NULL,
       code bytea NOT NULL,
       facts jsonb NOT NULL,
       created_at timestamptz NOT NULL DEFAULT now(),
       PRIMARY KEY (blob_id, version))`,
    `ALTER TABLE instrumented_modules ALTER COLUMN code SET STORAGE EXTERNAL`,
    `COMMENT ON COLUMN transactions.execution_version IS
       'The rules it was executed by: instrumenter, costs and engines.'`,
    `COMMENT ON COLUMN applications.engine IS 'What runs it: wasm, javascript or rhai.'`,
    `COMMENT ON TABLE instrumented_modules IS
       'Modules with metering, made at installation; disposable.'`,
    `COMMENT ON COLUMN instrumented_modules.version IS
       'Versions of the instrumenter and of its costs.'`,
    `COMMENT ON COLUMN instrumented_modules.facts IS
       'What the host must know of the module: imports, exports, names of its counters.'`,
  ];
  for (const statement of statements) await sql.raw(statement).execute(db);
}
