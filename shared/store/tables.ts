import type { ColumnType, Generated } from 'kysely';

/** Columns as they are read and written; `COMMENT ON` in the migrations says what each means. */
export interface Tables {
  transactions: {
    context: string;
    sequence: string;
    hash: Buffer;
    prior_hash: Buffer;
    kind: string;
    method: string;
    payload: Buffer;
    executor_public_key: Buffer;
    principal: string;
    request_id: string | null;
    time_ns: string;
    random_seed: Buffer;
    fuel_limit: string;
    status: string;
    output: Buffer | null;
    error: string | null;
    events: Buffer;
    changes: Buffer;
    root_hash: Buffer | null;
    artifact: Buffer | null;
    fuel_used: string;
    seal: Buffer;
    execution_version: number;
  };
  contexts: {
    context: Generated<string>;
    context_id: Buffer;
    application_id: Buffer;
    partition: number;
    head_sequence: string;
    head_hash: Buffer;
    head_seal: Buffer;
    root_hash: Buffer | null;
    state_bytes: string;
    created_at: Generated<Date>;
    deleted_at: Date | null;
    parent_context: string | null;
    fork_sequence: string | null;
  };
  members: {
    context_id: Buffer;
    public_key: Buffer;
    sealed_private_key: Buffer | null;
    added_at: Generated<Date>;
  };
  applications: {
    application_id: Buffer;
    blob_id: Buffer;
    size: string;
    source: string;
    metadata: Buffer;
    engine: string;
    installed_at: Generated<Date>;
  };
  instrumented_modules: {
    blob_id: Buffer;
    version: string;
    code: Buffer;
    facts: unknown;
    created_at: Generated<Date>;
  };
  blobs: { blob_id: Buffer; size: string; sha256: Buffer; created_at: Generated<Date> };
  blob_chunks: { blob_id: Buffer; position: number; bytes: Buffer };
  partitions: {
    partition: number;
    owner: string | null;
    epoch: string;
    expires_at: Date;
  };
  snapshots: {
    context: string;
    sequence: string;
    seal: Buffer;
    state_hash: Buffer;
    state: Buffer;
  };
  root_keys: {
    verifying_key: string;
    wallet: string;
    wallet_address: string;
    created_at: Generated<Date>;
    revoked_at: Date | null;
  };
  client_keys: {
    signing_key: string;
    wallet: string;
    context_id: Buffer | null;
    root_key: string;
    signs_time: Generated<boolean>;
    created_at: Generated<Date>;
    revoked_at: Date | null;
  };
  identity_events: {
    position: Generated<string>;
    at: Generated<Date>;
    kind: string;
    subject: string;
    actor: string;
    signature: string | null;
  };
  sse_sessions: {
    session_id: string;
    principal: string;
    next_slot: number;
    subscriptions: ColumnType<unknown, string, string>;
    created_at: Generated<Date>;
    expires_at: Date;
  };
  spent: { token: Buffer; expires_at: Date };
  token_keys: {
    key_id: string;
    public_key: Buffer;
    sealed_private_key: Buffer;
    created_at: Generated<Date>;
  };
  aliases: { kind: string; scope: string; alias: string; value: string };
  capabilities: { context_id: Buffer; public_key: Buffer; capability: string };
  log_subtrees: { context: string; position: string; root: Buffer };
  audit_progress: {
    context: string;
    verified_sequence: string;
    checked_at: Date;
    divergent_sequence: string | null;
    divergence: unknown;
  };
}
