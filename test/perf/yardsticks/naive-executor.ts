import { createHash } from 'node:crypto';
import { connect, type Msg } from 'nats';
import pg from 'pg';

/**
 * The naive design's executor: each request is one Postgres transaction that locks the head of
 * its context, hashes, inserts the row and moves the head. It runs no guest at all.
 */
const natsUrl = new URL(process.env['NATS_URL'] ?? '');
const bus = await connect({
  servers: natsUrl.host,
  user: natsUrl.username,
  pass: natsUrl.password,
});
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 16 });
await pool.query(`
  CREATE TABLE IF NOT EXISTS naive_heads (context text PRIMARY KEY, sequence bigint, hash bytea);
  CREATE TABLE IF NOT EXISTS naive_log (context text, sequence bigint, hash bytea, prior_hash bytea,
    method text, payload text, changes text, at timestamptz DEFAULT now(),
    PRIMARY KEY (context, sequence))`);

bus.subscribe('naive.execute', {
  callback: (error, message) => {
    if (error === null) void answer(message);
  },
});
await bus.flush();
process.stdout.write('{"port":0}\n');

interface Call {
  readonly contextId: string;
  readonly method: string;
  readonly argsJson: unknown;
}

async function answer(message: Msg): Promise<void> {
  const result = await execute(message.json()).catch((error: unknown) => ({
    error: String(error),
  }));
  message.respond(JSON.stringify(result));
}

async function execute({ contextId, method, argsJson }: Call): Promise<object> {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query(`INSERT INTO naive_heads VALUES ($1, 0, ''::bytea) ON CONFLICT DO NOTHING`, [
      contextId,
    ]);
    const { rows } = await client.query<{ sequence: string; hash: Buffer }>(
      'SELECT sequence, hash FROM naive_heads WHERE context = $1 FOR UPDATE',
      [contextId],
    );
    const head = rows[0] ?? { sequence: '0', hash: Buffer.alloc(0) };
    const sequence = BigInt(head.sequence) + 1n;
    const payload = JSON.stringify(argsJson);
    const hash = createHash('sha256').update(head.hash).update(payload).digest();
    await client.query(
      `INSERT INTO naive_log (context, sequence, hash, prior_hash, method, payload, changes)
       VALUES ($1, $2, $3, $4, $5, $6, $7)`,
      [contextId, sequence, hash, head.hash, method, payload, payload],
    );
    await client.query('UPDATE naive_heads SET sequence = $2, hash = $3 WHERE context = $1', [
      contextId,
      sequence,
      hash,
    ]);
    await client.query('COMMIT');
    return { output: null, sequence: sequence.toString(), hash: hash.toString('hex') };
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}
