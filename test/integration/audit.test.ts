import { expect, test } from 'vitest';
import type { Job } from '#shared/protocol/audit-api.ts';
import { eventually } from '../support/eventually.ts';
import { createTestDatabase } from '../support/infra.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { tamper } from '../support/tamper.ts';

/** As eager as it gets. */
const eager = { auditShare: 1, auditEveryMs: 20, auditSampleTransactions: 4 };

async function metric(node: TestNode, name: string): Promise<number | null> {
  const text = await (await fetch(`${node.internalUrl}/metrics`)).text();
  const line = text.split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? null : Number(line.slice(name.length + 1));
}

/** A context whose log has `sets` + 1 transactions. */
async function openWith({ client }: TestNode, sets: number): Promise<string> {
  const contextId = await client.open('kv-store');
  for (let i = 0; i < sets; i += 1) {
    await client.mutate(contextId, 'set', { key: `k${i}`, value: `v${i}` });
  }
  return contextId;
}

const divergent = (contextId: string) => `cairn_audit_divergent_sequence{context="${contextId}"}`;

test('the audit verifies every log, finds what was changed, and goes on after a restart', async () => {
  await using database = await createTestDatabase();
  let good = '';
  let bad = '';
  {
    await using node = await startTestNode({ database, sync: eager });
    good = await openWith(node, 9);
    bad = await openWith(node, 6);
    await eventually(async () => (await metric(node, 'cairn_audit_verified_sequence')) === 17);
    expect(await metric(node, 'cairn_audit_unverified_transactions')).toBe(0);
    expect(await metric(node, 'cairn_audit_divergences_total')).toBe(0);
    expect(await metric(node, divergent(bad))).toBeNull();

    // A row that was verified before: only the samples can find it.
    await tamper(
      database,
      bad,
      `UPDATE transactions SET method = 'sett' WHERE context = $context AND sequence = 3`,
    );
    await eventually(async () => (await metric(node, 'cairn_audit_divergences_total')) === 1);
    await eventually(async () => (await metric(node, divergent(bad))) === 3);
    expect(await metric(node, divergent(good))).toBeNull();
    // It stops nothing.
    expect((await node.client.mutate(bad, 'set', { key: 'a', value: 'b' })).error).toBeUndefined();
  }

  await using node = await startTestNode({ database, nodeName: 'test', sync: eager });
  await eventually(async () => (await metric(node, divergent(bad))) === 3);
  expect(await metric(node, 'cairn_audit_divergences_total')).toBe(1);
  const before = (await metric(node, 'cairn_audit_transactions_total')) ?? 0;
  await node.client.mutate(good, 'set', { key: 'a', value: 'b' });
  await eventually(async () => (await metric(node, 'cairn_audit_verified_sequence')) === 11 + 2);
  // It went on where it was: what is new, and samples of a few, but not everything again.
  const after = (await metric(node, 'cairn_audit_transactions_total')) ?? 0;
  expect(after - before).toBeGreaterThan(0);

  await tamper(
    database,
    bad,
    `UPDATE transactions SET method = 'set' WHERE context = $context AND sequence = 3`,
  );
  const path = `/admin-api/contexts/${bad}/verify`;
  const { job } = await node.client.admin<Job>(path, {});
  await eventually(async () => {
    const { verification } = await node.client.admin<Job>(`${path}/${job}`);
    return verification?.outcome === 'verified';
  });
  await eventually(async () => (await metric(node, divergent(bad))) === null);
});

test('whoever asks goes before the audit, which takes up again behind him', async () => {
  await using node = await startTestNode({ sync: { ...eager, auditShare: 0.001 } });
  const contextId = await openWith(node, 3);
  const path = `/admin-api/contexts/${contextId}/verify`;

  for (let i = 0; i < 3; i += 1) {
    const { job } = await node.client.admin<Job>(path, {});
    const over = await eventually(async () => {
      const shown = await node.client.admin<Job>(`${path}/${job}`);
      return shown.state === 'done' ? shown : null;
    });
    expect(over.verification?.outcome).toBe('verified');
  }
});
