import pg from 'pg';
import { byteaArray, int8Array, textArray } from '#shared/store/pg-array.ts';

const ROWS_PER_COMMIT = 256;
const CONNECTIONS = 2;

type Row = Readonly<Record<string, string | Buffer | null>>;

/**
 * Raw Postgres group commit: the rows that a log holds, inserted again into a table of the same
 * columns and indexes, 256 per commit over two connections, with everything else left out. Gives
 * rows per second.
 */
export async function measureGroupCommit(ownerUrl: string, durationMs: number): Promise<number> {
  const pool = new pg.Pool({ connectionString: ownerUrl, max: CONNECTIONS });
  try {
    await pool.query('DROP TABLE IF EXISTS raw_log');
    await pool.query('CREATE TABLE raw_log (LIKE transactions INCLUDING INDEXES)');
    const { rows } = await pool.query<Row>(
      `SELECT * FROM transactions WHERE kind = 'mutate' LIMIT ${ROWS_PER_COMMIT}`,
    );
    const { rows: columns } = await pool.query<{ name: string; type: string }>(
      `SELECT attname AS name, format_type(atttypid, NULL) AS type FROM pg_attribute
       WHERE attrelid = 'raw_log'::regclass AND attnum > 0 ORDER BY attnum`,
    );
    const arrays = columns.map(({ name, type }) => arrayOf(rows, name, type));
    const insert = `INSERT INTO raw_log SELECT * FROM unnest(${columns
      .map(({ type }, i) => `$${i + 1}::${type}[]`)
      .join(', ')})`;
    const context = columns.findIndex(({ name }) => name === 'context');
    const request = columns.findIndex(({ name }) => name === 'request_id');
    const sequence = columns.findIndex(({ name }) => name === 'sequence');
    arrays[sequence] = int8Array(rows.map((_, i) => BigInt(i + 1)));
    arrays[request] = textArray(rows.map((_, i) => `request-${i}`));
    let commits = 0;
    const startMs = performance.now();
    const commitInTurn = async () => {
      while (performance.now() - startMs < durationMs) {
        commits += 1;
        const key = BigInt(commits);
        const values = arrays.with(context, int8Array(rows.map(() => key)));
        await pool.query({ name: 'insert', text: insert, values });
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, commitInTurn));
    return ((commits * rows.length) / (performance.now() - startMs)) * 1_000;
  } finally {
    await pool.end();
  }
}

function arrayOf(rows: readonly Row[], name: string, type: string) {
  const values = rows.map((row) => row[name] ?? null);
  if (type === 'bytea') return byteaArray(values as (Buffer | null)[]);
  if (type === 'bigint') return int8Array(values.map((value) => BigInt(String(value))));
  return textArray(values.map((value) => (value === null ? null : String(value))));
}
