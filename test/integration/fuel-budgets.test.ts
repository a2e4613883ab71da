import { describe, expect, test } from 'vitest';
import { readLog } from '../support/log.ts';
import { startTestNode } from '../support/node.ts';

// In a file of its own: nodes of different databases on one bus answer each other's requests.
describe('a budget of fuel', () => {
  test.each([
    ['context', { fuelPerContextMinute: 1_000 }],
    ['principal', { fuelPerPrincipalMinute: 1_000 }],
  ] as const)(
    'of a %s refuses what comes after it is used up, and others nothing',
    async (of, limit) => {
      await using limited = await startTestNode({ executor: limit });
      const { client: caller } = limited;
      const used = await caller.open('kv-store');
      const other = await caller.open('kv-store');
      const write = (contextId: string) =>
        caller.mutate(contextId, 'set', { key: 'a', value: 'b' });

      const first = await write(used);
      const second = await write(used);
      const elsewhere = await write(other);

      expect(first.error).toBeUndefined();
      expect(second.error?.type).toBe('InternalError');
      expect(JSON.stringify(second.error?.data)).toMatch(
        /"retryable":true.*used its fuel of this minute/,
      );
      expect(elsewhere.error === undefined).toBe(of === 'context');
      expect(await readLog(limited.database.serviceUrl, used)).toHaveLength(2);
    },
  );
});
