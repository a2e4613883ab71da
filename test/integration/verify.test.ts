import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Job, Rehearsal, Verification } from '#shared/protocol/audit-api.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import { encodeChanges, sealTransaction } from '#shared/protocol/seal.ts';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import { decodeId } from '#shared/crypto/base58.ts';
import type { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { openTestDatabase, readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { tamper } from '../support/tamper.ts';
import { assemble } from '../support/wat.ts';

/** Like the key-value store, but `set` answers 7 and writes what it always writes. */
const variant = assemble(`(module
  (import "env" "storage_write" (func $write (param i64 i64 i64 i64 i64) (result i32)))
  (import "env" "value_return" (func $return (param i64 i64 i64)))
  (memory (export "memory") 1)
  (data (i32.const 0) "variant7")
  (func (export "init"))
  (func (export "migrate")
    (drop (call $write (i64.const 0) (i64.const 7) (i64.const 7) (i64.const 1) (i64.const 1))))
  (func (export "fail") (unreachable))
  (func (export "set")
    (drop (call $write (i64.const 0) (i64.const 7) (i64.const 7) (i64.const 1) (i64.const 1)))
    (call $return (i64.const 0) (i64.const 7) (i64.const 1))))`);
/** Loops for ever. */
const looping = assemble(`(module (memory (export "memory") 1)
  (func (export "init")) (func (export "spin") (loop $again (br $again))))`);

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');

let node: TestNode;
let client: Client;
let kvStore: string;
beforeAll(async () => {
  node = await startTestNode({ sync: { auditShare: 0, jobsWaitingMax: 2, wallClockMs: 400 } });
  client = node.client;
  kvStore = await client.install('kv-store');
});
afterAll(() => node[Symbol.asyncDispose]());

/** A context with `set`s at the sequences 2, 3, … */
async function openWith(sets: number): Promise<string> {
  const contextId = await client.createContext(kvStore);
  for (let i = 0; i < sets; i += 1) {
    await client.mutate(contextId, 'set', { key: `k${i}`, value: `v${i}` });
  }
  return contextId;
}

const path = (contextId: string, kind = 'verify') => `/admin-api/contexts/${contextId}/${kind}`;

async function finished(contextId: string, kind: Job['kind'], body: object): Promise<Job> {
  const { job } = await client.admin<Job>(path(contextId, kind), body);
  return await eventually(async () => {
    const shown = await client.admin<Job>(`${path(contextId, kind)}/${job}`);
    return shown.state === 'queued' || shown.state === 'running' ? null : shown;
  });
}

async function verify(contextId: string, range: object = {}): Promise<Verification> {
  const { verification, error } = await finished(contextId, 'verify', range);
  if (verification === null) throw new Error(error ?? 'no result');
  return verification;
}

async function rehearse(contextId: string, body: object): Promise<Rehearsal> {
  const { rehearsal, error } = await finished(contextId, 'rehearse', body);
  if (rehearsal === null) throw new Error(error ?? 'no result');
  return rehearsal;
}

test('a log that was left alone is verified, as a whole and in every range', async () => {
  const contextId = await openWith(40);

  expect(await verify(contextId)).toEqual({
    outcome: 'verified',
    from: '1',
    to: '41',
    base: 'nothing',
    verified: 41,
    divergence: null,
    hungAt: null,
  });
  expect(await verify(contextId, { from: '41' })).toMatchObject({ verified: 1, base: 'diffs' });
  expect(await verify(contextId, { from: '7', to: '20' })).toMatchObject({
    outcome: 'verified',
    verified: 14,
  });
});

test('a log that changes applications, ends with a tombstone and holds failures is verified', async () => {
  const contextId = await openWith(3);
  await client.mutate(contextId, 'nope', {});
  await client.mutate(contextId, 'get', 'not what it takes');
  const upgrade = (applicationId: string) =>
    client.admin(path(contextId, 'application'), { applicationId, migrationMethod: null });
  await upgrade(await client.install(variant));
  await client.mutate(contextId, 'set', {});
  await upgrade(kvStore);
  await client.mutate(contextId, 'set', { key: 'after', value: 'all' });
  await client.deleteContext(contextId);

  const log = await readLog(node.database.serviceUrl, contextId);
  expect(log.map(({ kind }) => kind)).toContain('delete');
  expect(await verify(contextId)).toMatchObject({ outcome: 'verified', verified: log.length });
  expect(await verify(contextId, { from: '8' })).toMatchObject({ outcome: 'verified' });
});

describe('what the owner of the database changes is found where it is', () => {
  const row = 'WHERE context = $context AND sequence';
  const changes: readonly (readonly [
    what: string,
    change: readonly string[],
    found: { sequence: string; kind: string; fields?: readonly string[] },
  ])[] = [
    [
      'an output',
      [`UPDATE transactions SET output = '"other"' ${row} = 5`],
      { sequence: '5', kind: 'seal', fields: ['seal', 'output'] },
    ],
    [
      'a state diff',
      [`UPDATE transactions SET changes = '\\x00000000' ${row} = 5`],
      { sequence: '5', kind: 'seal', fields: ['seal', 'changes'] },
    ],
    [
      'an argument',
      [`UPDATE transactions SET payload = '{"key":"k3","value":"x"}' ${row} = 5`],
      { sequence: '5', kind: 'hash' },
    ],
    [
      'who asked',
      [`UPDATE transactions SET principal = 'mallory' ${row} = 5`],
      { sequence: '5', kind: 'seal', fields: ['seal'] },
    ],
    [
      'a status',
      [`UPDATE transactions SET status = 'failed' ${row} = 5`],
      { sequence: '5', kind: 'seal', fields: ['seal', 'status'] },
    ],
    [
      'a seal',
      [`UPDATE transactions SET seal = sha256('x') ${row} = 5`],
      { sequence: '5', kind: 'seal', fields: ['seal'] },
    ],
    [
      'a prior hash',
      [`UPDATE transactions SET prior_hash = sha256('x') ${row} = 5`],
      { sequence: '5', kind: 'prior_hash', fields: ['prior_hash'] },
    ],
    [
      'something that is no encoding',
      [`UPDATE transactions SET changes = '\\x00ffffff00', hash = '\\x01' ${row} = 5`],
      { sequence: '5', kind: 'hash' },
    ],
    [
      'a row away from the middle',
      [`DELETE FROM transactions ${row} = 5`],
      { sequence: '5', kind: 'gap' },
    ],
    ['the last row away', [`DELETE FROM transactions ${row} = 9`], { sequence: '9', kind: 'gap' }],
    ['the first row away', [`DELETE FROM transactions ${row} = 1`], { sequence: '1', kind: 'gap' }],
    [
      'the order of two rows',
      [
        `UPDATE transactions SET sequence = 99 ${row} = 5`,
        `UPDATE transactions SET sequence = 5 ${row} = 6`,
        `UPDATE transactions SET sequence = 6 ${row} = 99`,
      ],
      { sequence: '5', kind: 'prior_hash' },
    ],
    [
      'the head',
      [`UPDATE contexts SET head_seal = sha256('x') WHERE context = $context`],
      { sequence: '9', kind: 'head', fields: ['seal'] },
    ],
  ];

  test.each(changes)('%s', async (_what, change, { sequence, kind, fields }) => {
    const contextId = await openWith(8);
    expect((await verify(contextId)).outcome).toBe('verified');

    await tamper(node.database, contextId, ...change);

    const found = await verify(contextId);
    expect(found).toMatchObject({ outcome: 'diverged', divergence: { sequence, kind } });
    expect(found.verified).toBe(kind === 'head' ? 9 : Number(sequence) - 1);
    if (fields !== undefined) {
      expect(found.divergence?.fields.map(({ field }) => field)).toEqual(fields);
    }
  });

  test('a history that was written anew from some point on, with a chain that holds', async () => {
    const contextId = await openWith(8);
    const log = await readLog(node.database.serviceUrl, contextId);
    const forged: string[] = [];
    let [priorHash, seal] = [log[3]?.hash ?? log[0]!.hash, log[3]?.seal ?? new Uint8Array()];
    for (const transaction of log.slice(4)) {
      // At 5 the state gets another value than the method would give it.
      const changes =
        transaction.sequence === 5n
          ? transaction.changes.map(({ key }) => ({ key, value: Buffer.from('forged') }))
          : transaction.changes;
      const hash = transactionHash({ ...transaction, priorHash });
      const next = { ...transaction, changes, priorHash, hash };
      seal = sealTransaction(next, seal);
      forged.push(`UPDATE transactions SET hash = '\\x${hex(decodeId(hash))}',
        prior_hash = '\\x${hex(decodeId(priorHash))}', seal = '\\x${hex(seal)}',
        changes = '\\x${hex(encodeChanges(changes))}'
        WHERE context = $context AND sequence = ${transaction.sequence}`);
      priorHash = hash;
    }
    forged.push(`UPDATE contexts SET head_hash = '\\x${hex(decodeId(priorHash))}',
      head_seal = '\\x${hex(seal)}' WHERE context = $context`);
    await tamper(node.database, contextId, ...forged);

    const { divergence, verified } = await verify(contextId);

    expect([verified, divergence?.sequence, divergence?.kind]).toEqual([4, '5', 'execution']);
    expect(divergence?.fields).toHaveLength(1);
    expect(divergence?.fields[0]).toMatchObject({ field: 'changes' });
    expect(divergence?.fields[0]?.logged).toContain('"forged"');
    expect(divergence?.fields[0]?.recomputed).not.toContain('forged');
  });

  test('an application that is not what was installed', async () => {
    const contextId = await client.open(
      assemble(`(module (memory (export "memory") 1)
        (data (i32.const 0) "to be changed") (func (export "init")))`),
    );
    await using database = openTestDatabase(node.database.ownerUrl);
    await sql`UPDATE blob_chunks SET bytes = bytes || '\\x00' WHERE blob_id IN (
      SELECT blob_id FROM applications a JOIN contexts c USING (application_id)
      WHERE context_id = ${Buffer.from(decodeId(contextId))})`.execute(database.kysely);

    await expect(verify(contextId)).rejects.toThrow('is not what was installed');
  });

  test('the application that a context began with', async () => {
    const contextId = await openWith(3);
    const applicationId = await client.install(variant);
    await client.admin(path(contextId, 'application'), { applicationId });
    await tamper(
      node.database,
      contextId,
      `UPDATE transactions SET payload = sha256('x') || substring(payload FROM 33) ${row} = 5`,
    );

    expect(await verify(contextId)).toMatchObject({
      outcome: 'diverged',
      divergence: { sequence: '5', kind: 'hash' },
    });
  });
});

describe('a job', () => {
  test('is refused for what is not there, and known to its own context only', async () => {
    const contextId = await openWith(2);
    const other = await openWith(1);
    const refusals = async (body: object, kind = 'verify') => {
      const response = await client.post(path(contextId, kind), body);
      return [response.status, ((await response.json()) as { error: string }).error];
    };

    expect(await refusals({ from: '2', to: '9' })).toEqual([
      400,
      'the log goes from 1 to 3: there is no range from 2 to 9',
    ]);
    expect((await client.post(path(contextId), { from: '0' })).status).toBe(422);
    const nowhere = 'A'.repeat(43);
    expect((await client.post(path(nowhere), {})).status).toBe(404);
    expect((await refusals({ applicationId: nowhere }, 'rehearse'))[0]).toBe(404);
    const { job } = await finished(contextId, 'verify', {});
    expect((await client.fetch(`${path(other)}/${job}`)).status).toBe(404);
    expect((await client.fetch(`${path(contextId)}/${'0'.repeat(32)}`)).status).toBe(404);
    expect((await client.fetch(`${path(contextId)}/x`)).status).toBe(404);
  });

  test('waits for its turn, is refused when too many do, and can be stopped', async () => {
    const contextId = await openWith(3);
    // Holds the row of the context: whoever verifies has to wait for it.
    await using database = openTestDatabase(node.database.ownerUrl);
    const started: Job[] = [];
    const answers: number[] = [];
    await database.kysely.transaction().execute(async (work) => {
      await sql`LOCK TABLE snapshots IN ACCESS EXCLUSIVE MODE`.execute(work);
      for (let i = 0; i < 4; i += 1) {
        const response = await client.post(path(contextId), {});
        answers.push(response.status);
        if (response.ok) started.push(((await response.json()) as { data: Job }).data);
        else expect(await response.text()).toContain('busy');
        if (i === 0) {
          const at = `${path(contextId)}/${started[0]?.job}`;
          await eventually(async () => (await client.admin<Job>(at)).state === 'running');
        }
      }
      expect(answers).toEqual([200, 200, 200, 429]);
      for (const { job } of started.slice(0, 2)) {
        const response = await client.fetch(`${path(contextId)}/${job}`, { method: 'DELETE' });
        expect(((await response.json()) as { data: Job }).data.state).toBe('aborted');
      }
    });

    const last = `${path(contextId)}/${started[2]?.job}`;
    await eventually(async () => (await client.admin<Job>(last)).state === 'done');
    expect((await client.admin<Job>(last)).verification?.outcome).toBe('verified');
    const first = await client.admin<Job>(`${path(contextId)}/${started[0]?.job}`);
    expect([first.state, first.verification]).toEqual(['aborted', null]);
  });
});

describe('a rehearsal', () => {
  test('of the same application comes out the same', async () => {
    const contextId = await openWith(5);

    expect(await rehearse(contextId, { applicationId: kvStore })).toMatchObject({
      outcome: 'same',
      compared: 6,
      same: 6,
      first: null,
      migration: null,
    });
  });

  test('of another version tells the first that differs and counts the others', async () => {
    const contextId = await openWith(5);
    await client.mutate(contextId, 'remove', { key: 'k1' });
    const before = await readLog(node.database.serviceUrl, contextId);
    const applicationId = await client.install(variant);

    const found = await rehearse(contextId, { applicationId });

    expect(found).toMatchObject({
      outcome: 'different',
      from: '1',
      to: '7',
      compared: 7,
      differing: { failsNow: 1, succeedsNow: 0, status: 1 },
    });
    expect(found.differing.output).toBeGreaterThan(0);
    expect(found.first?.fields.map(({ field }) => field)).toContain('changes');
    const ranged = await rehearse(contextId, { applicationId, from: '6', to: '7' });
    expect(ranged).toMatchObject({ compared: 2, base: 'diffs', first: { sequence: '6' } });
    // Nothing was written.
    expect(await readLog(node.database.serviceUrl, contextId)).toEqual(before);
    expect((await verify(contextId)).outcome).toBe('verified');
  });

  test('begins behind the last upgrade, unless it is told where', async () => {
    const contextId = await openWith(3);
    const applicationId = await client.install(variant);
    await client.admin(path(contextId, 'application'), { applicationId });
    await client.mutate(contextId, 'set', {});

    const found = await rehearse(contextId, { applicationId });

    expect(found).toMatchObject({ outcome: 'same', from: '6', compared: 1 });
    const whole = await rehearse(contextId, { applicationId, from: '1' });
    expect(whole).toMatchObject({ outcome: 'different', compared: 5 });
  });

  test('of a migration runs it on the state, and changes nothing', async () => {
    const contextId = await openWith(3);
    const applicationId = await client.install(variant);
    const migration = async (migrationMethod: string) =>
      await rehearse(contextId, { applicationId, migrationMethod });

    expect(await migration('migrate')).toMatchObject({
      outcome: 'migrated',
      migration: { status: 'ok', error: null, changes: 1 },
    });
    expect(await migration('fail')).toMatchObject({
      outcome: 'migration failed',
      migration: { status: 'failed', error: 'unreachable code reached' },
    });
    const shown = await client.admin(`/admin-api/contexts/${contextId}`);
    expect(shown['applicationId']).toBe(kvStore);
  });
});

test('a guest that runs for ever is told, and the next job runs', async () => {
  const contextId = await client.open(looping);
  // Without metering only the wall clock ends it: as a log from before would have it.
  const log = await readLog(node.database.serviceUrl, contextId);
  const [init] = log;
  if (init === undefined) throw new Error('a context begins with init');
  const asked = { ...init, method: 'spin', executionVersion: 0, fuelLimit: 0n, fuelUsed: 0n };
  const hash = transactionHash(asked);
  const seal = sealTransaction({ ...asked, hash }, new Uint8Array(32));
  await tamper(
    node.database,
    contextId,
    `UPDATE transactions SET method = 'spin', execution_version = 0, fuel_limit = 0, fuel_used = 0,
      hash = '\\x${hex(decodeId(hash))}', seal = '\\x${hex(seal)}' WHERE context = $context`,
    `UPDATE contexts SET head_hash = '\\x${hex(decodeId(hash))}', head_seal = '\\x${hex(seal)}'
      WHERE context = $context`,
  );

  expect(await verify(contextId)).toMatchObject({ outcome: 'hung', hungAt: '1', verified: 0 });
  expect((await verify(await openWith(1))).outcome).toBe('verified');
});

test('an id of a context that is no id is refused', async () => {
  expect(() => parseContextId('x')).toThrow();
  expect((await client.post(path('x'), {})).status).toBe(400);
});
