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
    Client: PreparingClient,
  });
  pool.on('error', onError);
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  return { kysely, [Symbol.asyncDispose]: () => kysely.destroy() };
}

const statementNames = new Map<string, string>();

/**
 * A client that names every statement with parameters, so that Postgres parses and plans it once
 * for each connection. The texts are those written in this code: a fixed number.
 */
class PreparingClient extends pg.Client {
  constructor(config?: string | pg.ClientConfig) {
    super(config);
    // Between two queries of its borrower nobody else listens, and the next query fails anyway.
    this.on('error', () => undefined);
    const query = this.query.bind(this) as (...args: unknown[]) => unknown;
    this.query = ((text: unknown, values: unknown, ...rest: unknown[]) =>
      typeof text === 'string' && Array.isArray(values) && values.length > 0
        ? query({ name: nameOf(text), text, values }, ...rest)
        : query(text, values, ...rest)) as typeof this.query;
  }
}

function nameOf(text: string): string {
  const known = statementNames.get(text);
  if (known !== undefined) return known;
  const name = `cairn_${statementNames.size}`;
  statementNames.set(text, name);
  return name;
}
