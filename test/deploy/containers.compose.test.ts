import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';

const reason = process.env['CAIRN_TEST_NO_ENGINE'];

test.skipIf(reason !== undefined)(
  `the test harness takes Postgres and NATS from containers ${reason ?? ''}`.trim(),
  async () => {
    vi.stubEnv('TEST_CONTAINERS', '1');
    const infra = await import('../support/infra.ts');
    const { startTestNode } = await import('../support/node.ts');
    await using stack = new AsyncDisposableStack();
    const folder = await mkdtemp(join(tmpdir(), 'cairn-infra-'));
    stack.defer(() => rm(folder, { recursive: true }));

    infra.publishInfra(await infra.startInfra(stack, folder));
    await using node = await startTestNode();
    const contextId = await node.client.open('kv-store');
    const { result } = await node.client.mutate(contextId, 'set', { key: 'a', value: 'b' });

    expect(result?.sequence).toBe('2');
  },
);
