import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { Tables } from './tables.ts';

/** A pool of connections to Postgres, and the query builder on it. */
export interface Database extends AsyncDisposable {
  readonly kysely: Kysely<Tables>;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly poolMax: number;
  /** An idle connection was lost; the pool replaces it. */
  readonly onError: (error: Error) => void;
}

const CONNECT_MS = 10_000;

/** Opens lazily: nothing is connected before the first query. */
export function openDatabase({ url, poolMax, onError }: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: poolMax,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: 'cairn',
  });
  pool.on('error', onError);
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  return { kysely, [Symbol.asyncDispose]: () => kysely.destroy() };
}
