import { setTimeout as wait } from 'node:timers/promises';
import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import { to as copyTo } from 'pg-copy-streams';
import type { Tables } from './tables.ts';

/** A pool of connections to Postgres, and the query builder on it. */
export interface Database extends AsyncDisposable {
  readonly kysely: Kysely<Tables>;
  /**
   * The bytes of `COPY (query) TO STDOUT` in Postgres' binary format. Whoever reads slowly slows
   * Postgres down; whoever stops early gives the connection up.
   */
  copyOut(query: string): AsyncGenerator<Uint8Array>;
}

/** PEM texts; the server is verified by `ca`, or by the system's certificates. */
export interface TlsOptions {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface DatabaseOptions {
  readonly url: string;
  readonly poolMax: number;
  /** Null or left out takes what the URL says. */
  readonly tls?: TlsOptions | null;
  /** An idle connection was lost; the pool replaces it. */
  readonly onError: (error: Error) => void;
}

const CONNECT_MS = 10_000;
const CLOSE_MS = 1_000;

/** Opens lazily: nothing is connected before the first query. */
export function openDatabase({ url, poolMax, tls, onError }: DatabaseOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max: poolMax,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_MS,
    application_name: 'cairn',
    ...(tls == null ? {} : { ssl: { ...tls } }),
    Client: PreparingClient,
  });
  pool.on('error', onError);
  const kysely = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  return {
    kysely,
    copyOut: (query) => copyOut(pool, query),
    [Symbol.asyncDispose]: () => close(kysely, pool),
  };
}

async function* copyOut(pool: pg.Pool, query: string): AsyncGenerator<Uint8Array> {
  const client = await pool.connect();
  let isWhole = false;
  try {
    const stream = client.query(copyTo(`COPY (${query}) TO STDOUT (FORMAT binary)`));
    for await (const chunk of stream) yield chunk as Uint8Array;
    isWhole = true;
  } finally {
    client.release(!isWhole);
  }
}

/** The pool has ended before its connections have, of which a Postgres that stops next complains. */
async function close(kysely: Kysely<Tables>, pool: pg.Pool): Promise<void> {
  const late = new AbortController();
  let open = pool.totalCount;
  const closed = new Promise<void>((resolve) => {
    if (open === 0) resolve();
    pool.on('remove', () => {
      open -= 1;
      if (open === 0) resolve();
    });
  });
  await kysely.destroy();
  await Promise.race([closed, wait(CLOSE_MS, undefined, late).catch(() => undefined)]);
  late.abort();
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
