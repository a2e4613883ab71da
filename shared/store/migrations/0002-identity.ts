import { type Kysely, sql } from 'kysely';

/** rolling: safe (new tables, and an index of what no log holds yet). */
export async function up(db: Kysely<unknown>): Promise<void> {
  for (const statement of [...tables(), ...guards(), ...comments()]) {
    await sql.raw(statement).execute(db);
  }
}

function tables(): string[] {
  return [
    `CREATE TABLE root_keys (
       verifying_key text PRIMARY KEY,
       wallet text NOT NULL,
       wallet_address text NOT NULL,
       created_at timestamptz NOT NULL DEFAULT now(),
       revoked_at timestamptz)`,
    `CREATE TABLE client_keys (
       signing_key text PRIMARY KEY,
       wallet text NOT NULL,
       context_id bytea,
       root_key text NOT NULL,
       signs_time boolean NOT NULL DEFAULT false,
       created_at timestamptz NOT NULL DEFAULT now(),
       revoked_at timestamptz)`,
    `CREATE TABLE identity_events (
       position int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
       at timestamptz NOT NULL DEFAULT now(),
       kind text NOT NULL,
       subject text NOT NULL,
       actor text NOT NULL,
       signature text)`,
    `CREATE TABLE spent (
       token bytea PRIMARY KEY,
       expires_at timestamptz NOT NULL)`,
    `CREATE INDEX spent_expiry ON spent (expires_at)`,
    `CREATE TABLE token_keys (
       key_id text PRIMARY KEY,
       public_key bytea NOT NULL,
       sealed_private_key bytea NOT NULL,
       created_at timestamptz NOT NULL DEFAULT now())`,
    `CREATE TABLE aliases (
       kind text NOT NULL,
       scope text NOT NULL,
       alias text NOT NULL,
       value text NOT NULL,
       PRIMARY KEY (kind, scope, alias))`,
    `CREATE TABLE capabilities (
       context_id bytea NOT NULL,
       public_key bytea NOT NULL,
       capability text NOT NULL,
       PRIMARY KEY (context_id, public_key, capability))`,
    `CREATE INDEX transactions_upgrades ON transactions (context, sequence) WHERE kind = 'upgrade'`,
  ];
}

function guards(): string[] {
  return [
    `CREATE FUNCTION refuse_identity_change() RETURNS trigger LANGUAGE plpgsql AS $$
       BEGIN
         RAISE EXCEPTION 'identity_events is append-only: % is refused', TG_OP;
       END $$`,
    `CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON identity_events
       FOR EACH ROW EXECUTE FUNCTION refuse_identity_change()`,
    `CREATE TRIGGER no_truncate BEFORE TRUNCATE ON identity_events
       FOR EACH STATEMENT EXECUTE FUNCTION refuse_identity_change()`,
  ];
}

function comments(): string[] {
  const texts: Readonly<Record<string, string>> = {
    root_keys: 'Wallet keys that may add client keys; wallet is the JSON that the client sent.',
    client_keys: 'Keys that applications sign with; context_id bounds one to a context.',
    identity_events: 'Who added or revoked which key, when, by which signature; append-only.',
    spent: 'Nonces, refresh tokens, invitations and signed headers that were used once.',
    token_keys: 'Ed25519 keys that JWTs are signed with; the newest signs, all verify.',
    aliases: 'Names of contexts, applications and, in the scope of a context, identities.',
    capabilities: 'What a member may do in a context beside calling it.',
  };
  return Object.entries(texts).map(([name, text]) => `COMMENT ON TABLE ${name} IS '${text}'`);
}
