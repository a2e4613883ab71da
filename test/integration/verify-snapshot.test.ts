import { sql } from 'kysely';
import { expect, test } from 'vitest';
import type { Job } from '#shared/protocol/audit-api.ts';
import { encodeChanges } from '#shared/protocol/seal.ts';
import { eventually } from '../support/eventually.ts';
import { openTestDatabase } from '../support/log.ts';
import { startTestNode } from '../support/node.ts';

test('a snapshot that is not the state is found, though the log is right', async () => {
  await using node = await startTestNode({
    executor: { snapshotEvery: 5 },
    sync: { auditShare: 0 },
  });
  const contextId = await node.client.open('kv-store');
  const path = `/admin-api/contexts/${contextId}/verify`;
  for (let i = 0; i < 12; i += 1) {
    await node.client.mutate(contextId, 'set', { key: `k${i}`, value: 'x'.repeat(100) });
  }
  await using database = openTestDatabase(node.database.ownerUrl);
  const count = async () => {
    const { rows } = await sql`SELECT 1 FROM snapshots`.execute(database.kysely);
    return rows.length;
  };
  await eventually(async () => (await count()) >= 2);
  const check = async () => {
    const { job } = await node.client.admin<Job>(path, {});
    return await eventually(
      async () => (await node.client.admin<Job>(`${path}/${job}`)).verification,
    );
  };
  expect((await check()).outcome).toBe('verified');

  const forged = encodeChanges([{ key: Buffer.alloc(32, 1), value: Buffer.from('forged') }]);
  // The lane may still be writing one: then the next look finds the forged one.
  const found = await eventually(async () => {
    await sql`UPDATE snapshots SET state = ${forged}, state_hash = sha256(${forged})
      WHERE sequence = (SELECT max(sequence) FROM snapshots)`.execute(database.kysely);
    const verification = await check();
    return verification.outcome === 'diverged' ? verification : null;
  });
  expect(found.divergence).toMatchObject({ kind: 'snapshot' });
});
