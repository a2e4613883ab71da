import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { busPermissions, natsConfiguration } from '#shared/bus/nats-config.ts';
import { SUBJECTS, subjects } from '#shared/bus/subjects.ts';

const CONFIGURATION = join(import.meta.dirname, '../../deploy/nats/nats.conf');

/** Every subject that the code can make, by the name of its builder. */
const BUILT = Object.entries(subjects)
  .filter(([name]) => name !== 'partitionOfBeacon')
  .map(([name, built]): readonly [string, string] => [
    name,
    typeof built === 'string' ? built : (built as (part: unknown) => string)('x'),
  ]);

test('every subject stands in the table once, and everything in the table is used', () => {
  for (const [name, subject] of BUILT) {
    const rows = SUBJECTS.filter((row) => matches(row.subject, subject));
    expect(rows, name).toHaveLength(1);
  }
  for (const row of SUBJECTS) {
    const used = BUILT.filter(([, subject]) => matches(row.subject, subject));
    expect(used, row.subject).not.toEqual([]);
  }
});

test('what only one service may do is what it alone may do', () => {
  const publishers = (subject: string) =>
    busPermissions().flatMap(({ user, publish }) => (publish.includes(subject) ? [user] : []));
  const listeners = (subject: string) =>
    busPermissions().flatMap(({ user, subscribe }) => (subscribe.includes(subject) ? [user] : []));

  expect(publishers('cairn.v1.log.*')).toEqual(['rpc-executor']);
  expect(publishers('cairn.v1.beacon.*')).toEqual(['rpc-executor']);
  expect(publishers('cairn.v1.auth.changed')).toEqual(['auth']);
  expect(listeners('cairn.v1.auth.verify')).toEqual(['auth']);
  expect(listeners('cairn.v1.execute.*')).toEqual(['rpc-executor']);
  expect(publishers('cairn.v1.execute.*')).not.toContain('sync');
  expect(publishers('cairn.v1.executor.*')).toEqual(publishers('cairn.v1.execute.*'));
  expect(listeners('cairn.v1.executor.*')).toEqual(['rpc-executor']);
  for (const { user } of busPermissions()) {
    expect(listeners(`_INBOX_${user}.>`).filter((name) => name !== user)).toEqual([]);
  }
});

test('the configuration of NATS is made of the table: cairn config nats > deploy/nats/nats.conf', () => {
  expect(readFileSync(CONFIGURATION, 'utf8')).toBe(natsConfiguration());
});

function matches(pattern: string, subject: string): boolean {
  const [wanted, given] = [pattern.split('.'), subject.split('.')];
  return (
    wanted.length === given.length &&
    wanted.every((token, index) => token === '*' || token === given[index])
  );
}
