import { type Kysely, sql } from 'kysely';

/** Hash partitions of `transactions`; fixed by the first migration. */
const LOG_PARTITIONS = 8;
const LEASE_PARTITIONS = 64;

/** rolling: safe (the first migration). */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of statements()) await sql.raw(statement).execute(db);
}

function statements(): string[] {
  return [
    `CREATE TABLE applications (
       application_id bytea PRIMARY KEY,
       blob_id bytea NOT NULL,
       size int8 NOT NULL,
       source text NOT NULL,
       metadata bytea NOT NULL,
       installed_at timestamptz NOT NULL DEFAULT now())`,
    `CREATE TABLE blobs (
       blob_id bytea PRIMARY KEY,
       size int8 NOT NULL,
       sha256 bytea NOT NULL,
       created_at timestamptz NOT NULL DEFAULT now())`,
    `CREATE TABLE blob_chunks (
       blob_id bytea NOT NULL REFERENCES blobs ON DELETE CASCADE,
       position int4 NOT NULL,
       bytes bytea NOT NULL,
       PRIMARY KEY (blob_id, position))`,
    `ALTER TABLE blob_chunks ALTER COLUMN bytes SET STORAGE EXTERNAL`,
    `CREATE TABLE contexts (
       context int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
       context_id bytea NOT NULL UNIQUE,
       application_id bytea NOT NULL,
       partition int4 NOT NULL,
       head_sequence int8 NOT NULL,
       head_hash bytea NOT NULL,
       head_seal bytea NOT NULL,
       root_hash bytea,
       state_bytes int8 NOT NULL,
       created_at timestamptz NOT NULL DEFAULT now(),
       deleted_at timestamptz) WITH (fillfactor = 50)`,
    `CREATE TABLE members (
       context_id bytea NOT NULL,
       public_key bytea NOT NULL,
       sealed_private_key bytea,
       added_at timestamptz NOT NULL DEFAULT now(),
       PRIMARY KEY (context_id, public_key))`,
    `CREATE TABLE partitions (
       partition int4 PRIMARY KEY,
       owner text,
       epoch int8 NOT NULL DEFAULT 0,
       expires_at timestamptz NOT NULL DEFAULT '-infinity')`,
    `INSERT INTO partitions (partition) SELECT generate_series(0, ${LEASE_PARTITIONS - 1})`,
    `CREATE TABLE transactions (
       context int8 NOT NULL,
       sequence int8 NOT NULL CHECK (sequence > 0),
       hash bytea NOT NULL,
       prior_hash bytea NOT NULL,
       kind text NOT NULL,
       method text NOT NULL,
       payload bytea NOT NULL,
       executor_public_key bytea NOT NULL,
       principal text NOT NULL,
       request_id text,
       time_ns int8 NOT NULL,
       random_seed bytea NOT NULL,
       fuel_limit int8 NOT NULL,
       status text NOT NULL CHECK (status IN ('ok', 'failed')),
       output bytea,
       error text,
       events bytea NOT NULL,
       changes bytea NOT NULL,
       root_hash bytea,
       artifact bytea,
       fuel_used int8 NOT NULL,
       seal bytea NOT NULL,
       PRIMARY KEY (context, sequence)) PARTITION BY HASH (context)`,
    ...Array.from(
      { length: LOG_PARTITIONS },
      (_, remainder) =>
        `CREATE TABLE transactions_${remainder} PARTITION OF transactions
           FOR VALUES WITH (MODULUS ${LOG_PARTITIONS}, REMAINDER ${remainder})`,
    ),
    `CREATE UNIQUE INDEX transactions_request ON transactions (context, request_id)`,
    ...logGuards(),
    `CREATE TABLE snapshots (
       context int8 NOT NULL,
       sequence int8 NOT NULL,
       seal bytea NOT NULL,
       state_hash bytea NOT NULL,
       state bytea NOT NULL,
       PRIMARY KEY (context, sequence))`,
    ...comments(),
  ];
}

/** The log refuses every change to what it holds, also by its owner. */
function logGuards(): string[] {
  return [
    `CREATE FUNCTION refuse_log_change() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         RAISE EXCEPTION 'transactions is append-only: % is refused', TG_OP;
       END $$`,
    `CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON transactions
       FOR EACH ROW EXECUTE FUNCTION refuse_log_change()`,
    // A statement trigger on the parent does not fire for TRUNCATE of a partition by name.
    ...['', ...Array.from({ length: LOG_PARTITIONS }, (_, i) => `_${i}`)].map(
      (suffix) =>
        `CREATE TRIGGER no_truncate BEFORE TRUNCATE ON transactions${suffix}
           FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change()`,
    ),
  ];
}

function comments(): string[] {
  const tables: Readonly<Record<string, string>> = {
    applications:
      'Installed applications; application_id is derived from blob, size, source, metadata.',
    blobs: 'Content-addressed bytes; blob_id is SHA-256 over the ids of its 1 MiB chunks.',
    blob_chunks: 'The chunks of a blob, in order of position.',
    contexts: 'Head of each context: its last transaction, its application and its size.',
    members: 'Identities of a context; sealed_private_key is set for those this node holds.',
    partitions: 'Lease of each partition; epoch grows with each takeover and fences commits.',
    transactions: 'The log: append-only, one row per executed transaction.',
    snapshots: 'State of a context at a sequence; disposable.',
  };
  const columns: Readonly<Record<string, string>> = {
    'transactions.context': 'Surrogate of the 32-byte context id, see contexts.context.',
    'transactions.sequence': '1, 2, 3 … per context, without gaps.',
    'transactions.hash': 'SHA-256 over compact JSON of what was asked and prior_hash.',
    'transactions.payload': 'Arguments as the guest reads them.',
    'transactions.request_id': 'Idempotency key, unique within a context.',
    'transactions.time_ns': 'Unix time in nanoseconds that the guest saw.',
    'transactions.random_seed': '32 bytes from which the randomness of the guest is drawn.',
    'transactions.events': 'Application events, encoded as in the seal.',
    'transactions.changes': 'State diff, encoded as in the seal.',
    'transactions.seal': 'SHA-256 over the canonical encoding of the row and the previous seal.',
    'contexts.root_hash': 'The root that the guest committed last, if it ever did.',
    'contexts.state_bytes': 'Bytes of keys and values of the live state.',
    'partitions.expires_at': 'The lease is free after this instant.',
  };
  return [
    ...Object.entries(tables).map(([name, text]) => `COMMENT ON TABLE ${name} IS '${text}'`),
    ...Object.entries(columns).map(([name, text]) => `COMMENT ON COLUMN ${name} IS '${text}'`),
  ];
}
