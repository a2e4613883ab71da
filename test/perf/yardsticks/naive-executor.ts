import { createHash, randomBytes } from 'node:crypto';
import { connect, type Msg } from 'nats';
import pg from 'pg';

/**
 * The naive design's executor: each request is one Postgres transaction that locks the head of
 * its context, hashes, inserts a row of the log's own columns and indexes, and moves the head. It
 * runs no guest at all.
 */
const natsUrl = new URL(process.env['NATS_URL'] ?? '');
const bus = await connect({
  servers: natsUrl.host,
  user: natsUrl.username,
  pass: natsUrl.password,
});
const pool = new pg.Pool({ connectionString: process.env['DATABASE_URL'], max: 16 });
await pool.query(`
  CREATE TABLE IF NOT EXISTS naive_heads (context bigint PRIMARY KEY, sequence bigint, hash bytea);
  CREATE TABLE IF NOT EXISTS naive_log (LIKE transactions INCLUDING INDEXES)`);

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
  readonly requestId: string;
}

const INSERT = `INSERT INTO naive_log (context, sequence, hash, prior_hash, kind, method, payload,
  executor_public_key, principal, request_id, time_ns, random_seed, fuel_limit, status, events,
  changes, root_hash, artifact, fuel_used, seal)
  VALUES ($1, $2, $3, $4, 'mutate', $5, $6, $4, 'admin', $7, $8, $9, 0, 'ok', $6, $6, $3, '', 0, $3)`;

async function answer(message: Msg): Promise<void> {
  const result = await execute(message.json()).catch((error: unknown) => ({
    error: String(error),
  }));
  message.respond(JSON.stringify(result));
}

async function execute({ contextId, method, argsJson, requestId }: Call): Promise<object> {
  const context = createHash('sha256').update(contextId).digest().readBigInt64BE();
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    await client.query(
      `INSERT INTO naive_heads VALUES ($1, 0, sha256('')) ON CONFLICT DO NOTHING`,
      [context],
    );
    const { rows } = await client.query<{ sequence: string; hash: Buffer }>(
      'SELECT sequence, hash FROM naive_heads WHERE context = $1 FOR UPDATE',
      [context],
    );
    const head = rows[0] ?? { sequence: '0', hash: Buffer.alloc(32) };
    const sequence = BigInt(head.sequence) + 1n;
    const payload = Buffer.from(JSON.stringify(argsJson));
    const hash = createHash('sha256').update(head.hash).update(payload).digest();
    const timeNs = BigInt(Date.now()) * 1_000_000n;
    const values = [context, sequence, hash, head.hash, method, payload, requestId, timeNs];
    await client.query(INSERT, [...values, randomBytes(32)]);
    await client.query('UPDATE naive_heads SET sequence = $2, hash = $3 WHERE context = $1', [
      context,
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
