import { Kysely, PostgresDialect, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import pg from 'pg';
import type { Database, TlsOptions } from './database.ts';
import * as log from './migrations/0001-log.ts';
import * as identity from './migrations/0002-identity.ts';
import * as execution from './migrations/0003-execution.ts';
import * as fork from './migrations/0004-fork.ts';
import * as append from './migrations/0005-append.ts';
import * as logTree from './migrations/0006-log-tree.ts';
import * as executors from './migrations/0007-executors.ts';
import * as sseSessions from './migrations/0009-sse-sessions.ts';

const MIGRATIONS: Readonly<Record<string, Migration>> = {
  '0001-log': log,
  '0002-identity': identity,
  '0003-execution': execution,
  '0004-fork': fork,
  '0005-append': append,
  '0006-log-tree': logTree,
  '0007-executors': executors,
  '0009-sse-sessions': sseSessions,
};

export interface MigrateOptions {
  /** A role that may create roles and tables; only migrations use it. */
  readonly ownerUrl: string;
  /** Password of the role that services connect with; it owns nothing. */
  readonly servicePassword: string;
  /** That role; named after the database when left out. */
  readonly serviceRole?: string;
  readonly tls?: TlsOptions | null;
}

/** Brings the schema up to date and (re)grants the services' role. Idempotent; one at a time. */
export async function migrate(options: MigrateOptions): Promise<void> {
  const { ownerUrl, servicePassword, tls } = options;
  const serviceRole = options.serviceRole ?? serviceRoleOf(new URL(ownerUrl));
  const ssl = tls == null ? {} : { ssl: { ...tls } };
  const pool = new pg.Pool({ connectionString: ownerUrl, max: 2, ...ssl });
  pool.on('error', () => undefined);
  const db = new Kysely<unknown>({ dialect: new PostgresDialect({ pool }) });
  try {
    const migrator = new Migrator({ db, provider: { getMigrations: async () => MIGRATIONS } });
    const { error } = await migrator.migrateToLatest();
    if (error !== undefined) {
      const { message, code } = error as { message?: string; code?: string };
      const reason = message || code || 'unknown failure';
      throw new Error(`the database cannot be migrated: ${reason}`, { cause: error });
    }
    await grant(db, serviceRole, servicePassword);
  } finally {
    await db.destroy();
  }
}

/** How the schema of a database differs from the one that this code was written for. */
export interface SchemaDifference {
  readonly missing: readonly string[];
  /** Migrations that this code does not know. */
  readonly newer: readonly string[];
}

/** Compares the migrations that were done with those of this code. */
export async function compareSchema({ kysely }: Database): Promise<SchemaDifference> {
  const known = Object.keys(MIGRATIONS);
  const done = await sql<{ name: string }>`SELECT name FROM kysely_migration`
    .execute(kysely)
    .then(({ rows }) => rows.map(({ name }) => name))
    .catch((error: unknown): string[] => {
      if ((error as { code?: string }).code === UNDEFINED_TABLE) return [];
      throw error;
    });
  return {
    missing: known.filter((name) => !done.includes(name)),
    newer: done.filter((name) => !known.includes(name)),
  };
}

const IDLE_IN_TRANSACTION = '5s';
const UNDEFINED_TABLE = '42P01';

/** The URL with which services connect to the database of `ownerUrl`. */
export function serviceUrlOf(ownerUrl: string, servicePassword: string): string {
  const url = new URL(ownerUrl);
  url.username = encodeURIComponent(serviceRoleOf(url));
  url.password = servicePassword;
  return url.href;
}

/** Roles belong to the whole Postgres server, which may hold the databases of several Cairns. */
function serviceRoleOf(url: URL): string {
  const database = decodeURIComponent(url.pathname.slice(1)) || decodeURIComponent(url.username);
  return `${database}_service`;
}

async function grant(db: Kysely<unknown>, name: string, password: string): Promise<void> {
  const role = `"${name.replaceAll('"', '""')}"`;
  const statements = [
    `DO $$ BEGIN
       IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = ${quote(name)}) THEN
         CREATE ROLE ${role} LOGIN;
       END IF;
     EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$`,
    `ALTER ROLE ${role} PASSWORD ${quote(password)}`,
    `GRANT USAGE ON SCHEMA public TO ${role}`,
    `GRANT SELECT, INSERT ON transactions TO ${role}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON applications, blobs, blob_chunks, contexts, members,
       snapshots, instrumented_modules TO ${role}`,
    `GRANT SELECT, UPDATE ON partitions TO ${role}`,
    `GRANT SELECT, INSERT ON identity_events, log_subtrees TO ${role}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON audit_progress TO ${role}`,
    `GRANT SELECT ON kysely_migration TO ${role}`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON executors, sse_sessions TO ${role}`,
    // A process that is paused within a transaction must not keep its locks.
    `ALTER ROLE ${role} SET idle_in_transaction_session_timeout = '${IDLE_IN_TRANSACTION}'`,
    `GRANT SELECT, INSERT, UPDATE, DELETE ON root_keys, client_keys, spent, token_keys, aliases,
       capabilities TO ${role}`,
  ];
  await db.transaction().execute(async (work) => {
    // Roles are shared by all databases of a cluster: two migrations at once would collide.
    await sql`SELECT pg_advisory_xact_lock(hashtext('cairn_grants'))`.execute(work);
    for (const statement of statements) await sql.raw(statement).execute(work);
  });
}

function quote(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}
