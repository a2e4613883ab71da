import { afterAll, beforeAll, expect, test } from 'vitest';
import { verifyConsistency, verifyProof } from '#shared/client/verify-proof.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import { leafHash, nodeHash, splitOf } from '#shared/protocol/merkle.ts';
import type { Client } from '../support/client.ts';
import { readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';
import { tamper } from '../support/tamper.ts';

interface ProofJson {
  readonly transaction: { readonly sequence: string; readonly hash: string };
  readonly path: readonly string[];
  readonly head: { readonly size: string; readonly root: string };
}

const AT_ONCE = 64;
/** Leaves of a stored subtree. */
const CHUNK = 1_024;

let node: TestNode;
let client: Client;
let nodeKey: string;
let contextId: string;
/** Length of the context's log. */
let length = 1;

beforeAll(async () => {
  node = await startTestNode({ sync: { auditShare: 0 } });
  client = node.client;
  ({ nodeKey } = await client.admin<{ nodeKey: string }>('/admin-api/node-key'));
  contextId = await client.open('kv-store');
});
afterAll(() => node[Symbol.asyncDispose]());

async function growTo(size: number): Promise<void> {
  while (length < size) {
    const count = Math.min(AT_ONCE, size - length);
    await Promise.all(
      Array.from({ length: count }, (_, i) =>
        client.mutate(contextId, 'set', { key: `k${(length + i) % 50}`, value: `${length + i}` }),
      ),
    );
    length += count;
  }
}

async function prove(sequence: number, of = contextId, by = client): Promise<ProofJson> {
  const response = await by.fetch(`/admin-api/contexts/${of}/proof?sequence=${sequence}`);
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as ProofJson;
}

/** RFC 9162, section 2.1.1, over the seals as they stand in the log. */
async function naiveRoot(of = contextId): Promise<string> {
  const log = await readLog(node.database.serviceUrl, of);
  const root = (leaves: readonly Uint8Array[]): Uint8Array => {
    const [first] = leaves;
    if (first !== undefined && leaves.length === 1) return first;
    const left = Number(splitOf(BigInt(leaves.length)));
    return nodeHash(sha256, root(leaves.slice(0, left)), root(leaves.slice(left)));
  };
  return Buffer.from(root(log.map(({ seal }) => leafHash(sha256, seal)))).toString('hex');
}

test.each([1, 2, 3, 4, 5, 1_023, 1_024, 1_025, 1_026, 2_047, 2_048, 2_049, 2_050])(
  'a log of %i transactions has the root of the naive tree, and proves each of them',
  async (size) => {
    await growTo(size);
    const all = [1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, Math.ceil(size / 2), size - 1, size];
    const root = await naiveRoot();

    for (const sequence of new Set(all.filter((each) => each >= 1 && each <= size))) {
      const proof = await prove(sequence);

      expect(verifyProof(proof, { nodeKey, contextId })).toMatchObject({ isValid: true });
      expect(proof.transaction.sequence).toBe(`${sequence}`);
      expect(proof.head).toMatchObject({ size: `${size}`, root });
      expect(proof.path.length).toBeLessThanOrEqual(Math.ceil(Math.log2(size)));
    }
  },
);

test('many proofs at once, also of a log that no proof was made of, are all good', async () => {
  await growTo(2_050);
  await using other = await startTestNode({
    database: node.database,
    nodeName: 'other',
    sync: { auditShare: 0 },
  });
  const { contextId: forked } = await client.admin<{ contextId: string }>(
    `/admin-api/contexts/${contextId}/fork`,
    {},
  );

  const proofs = await Promise.all(
    [1, 5, 1_024, 1_500, 2_050, 2_051].flatMap((sequence) => [
      prove(sequence, forked),
      prove(sequence, forked, other.client),
    ]),
  );

  const root = await naiveRoot(forked);
  for (const proof of proofs) {
    expect(verifyProof(proof, { nodeKey, contextId: forked })).toMatchObject({ isValid: true });
    expect(proof.head).toMatchObject({ size: '2051', root });
  }
});

test('a head goes on from every head before it', async () => {
  const log = await client.open('kv-store');
  const heads: ProofJson['head'][] = [];
  for (let i = 0; i < 9; i += 1) {
    heads.push((await prove(1, log)).head);
    await client.mutate(log, 'set', { key: 'k', value: `${i}` });
  }
  for (const head of heads) {
    const path = `/admin-api/contexts/${log}/proof/consistency?from=${head.size}`;
    const proof: unknown = await (await client.fetch(path)).json();

    expect(verifyConsistency(head, proof, { nodeKey })).toMatchObject({ isValid: true });
  }
});

test('what is not there is not proved', async () => {
  const refusal = async (query: string, of = contextId) => {
    const response = await client.fetch(`/admin-api/contexts/${of}/proof${query}`);
    return response.status;
  };

  expect(await refusal('?sequence=99999')).toBe(400);
  expect(await refusal('?sequence=9999999999999999999')).toBe(400);
  expect(await refusal('?sequence=0')).toBe(400);
  expect(await refusal('')).toBe(400);
  expect(await refusal('?sequence=1&more=1')).toBe(400);
  expect(await refusal('?sequence=1', 'A'.repeat(43))).toBe(404);
  expect(await refusal('/consistency?from=0')).toBe(400);
});

test('a log whose seals were changed is not proved any more', async () => {
  await growTo(2_050);
  await prove(1);
  const change = async (sequence: number) => {
    await tamper(
      node.database,
      contextId,
      `UPDATE transactions SET seal = sha256('x') WHERE context = $context AND sequence = ${sequence}`,
    );
  };

  await change(700);
  await expect(prove(3)).rejects.toThrow(
    '409 {"error":"the log was changed: the seals from 1 to 1024 are others than they were; verify it"}',
  );
  await change(2_050);
  await expect(prove(2_000)).rejects.toThrow('its end is not that of the context');
});
