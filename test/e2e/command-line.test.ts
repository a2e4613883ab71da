import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Job } from '#shared/protocol/audit-api.ts';
import { createTestDatabase, type TestDatabase, testNatsUrl } from '../support/infra.ts';
import { NodeProcess } from '../support/node-process.ts';
import { tamper } from '../support/tamper.ts';

const MAIN = join(import.meta.dirname, '../../services/ctl/main.ts');

interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let data: string;
let database: TestDatabase;
let node: NodeProcess;
let contextId: string;
let nodeKey: string;

beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'cairn-cli-'));
  database = await createTestDatabase();
  const env = { DATABASE_URL: database.ownerUrl, NATS_URL: testNatsUrl() };
  node = await NodeProcess.start({ data, args: ['--no-demo'], env });
  contextId = await node.client.open('kv-store');
  for (let i = 0; i < 9; i += 1) {
    await node.client.mutate(contextId, 'set', { key: `k${i}`, value: `v${i}` });
  }
  nodeKey = /node key +(\S+)/.exec(node.stdout)?.[1] ?? '';
});
afterAll(async () => {
  await node[Symbol.asyncDispose]();
  await database[Symbol.asyncDispose]();
  await rm(data, { recursive: true, force: true });
});

function cairn(...args: string[]): Promise<Ran> {
  return new Promise((resolve) => {
    execFile(process.execPath, [MAIN, ...args], (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
    });
  });
}

test('a log is verified by a node that its data directory tells of', async () => {
  const whole = await cairn('verify', contextId, '--data', data);
  const range = await cairn('verify', contextId, '--data', data, '--from=3', '--to=5', '--json');

  expect(whole).toMatchObject({ code: 0, stderr: '' });
  expect(whole.stdout).toContain(`Verified: transactions 1 to 10 of ${contextId}`);
  expect(range.code).toBe(0);
  expect(JSON.parse(range.stdout) as Job).toMatchObject({
    state: 'done',
    verification: { outcome: 'verified', from: '3', to: '5', verified: 3, base: 'diffs' },
  });
});

test('a rehearsal is told in words, by URL and token', async () => {
  const { url, token } = node.client;
  const at = ['--url', url, '--token', token];
  const other = await node.client.install('only-peers');
  const same = String(
    (await node.client.admin(`/admin-api/contexts/${contextId}`))['applicationId'],
  );

  const unlike = await cairn('rehearse', contextId, '--application', other, '--from=2', ...at);
  expect(unlike.code).toBe(1);
  expect(unlike.stdout).toContain('0 of 9 transactions, from 2 to 10, come out the same.');
  expect(unlike.stdout).toContain('The FIRST that differs is 2:');
  expect(unlike.stdout).toContain('method "set" not found');
  expect(unlike.stdout).toContain('The state before 2 was taken from diffs');
  const alike = await cairn('rehearse', contextId, '--application', same, ...at);
  expect(alike).toMatchObject({ code: 0 });
  expect(alike.stdout).toContain('10 of 10 transactions');
  const migration = ['--migration', 'nope'];
  const failing = await cairn('rehearse', contextId, '--application', other, ...migration, ...at);
  expect(failing).toMatchObject({ code: 1 });
  expect(failing.stdout).toContain('The migration FAILS');
});

test('a proof is fetched, and holds without any node until somebody changes it', async () => {
  const file = join(data, 'proof.json');
  expect(await cairn('proof', 'get', contextId, '7', '--output', file, '--data', data)).toEqual({
    code: 0,
    stdout: '',
    stderr: '',
  });

  const good = await cairn('proof', 'verify', file, '--node-key', nodeKey, '--context', contextId);
  expect(good).toMatchObject({ code: 0, stderr: '' });
  expect(good.stdout).toContain(`that the log of ${contextId}`);
  expect(good.stdout).toContain('and transaction 7 is');

  const text = await readFile(file, 'utf8');
  await writeFile(file, text.replace('"sequence":"7"', '"sequence":"8"'));
  const forged = await cairn('proof', 'verify', file, '--node-key', nodeKey);
  expect([forged.code, forged.stdout]).toEqual([
    1,
    'NOT a proof: the path does not lead to the root.\n',
  ]);
  await writeFile(file, text.slice(0, -20));
  expect((await cairn('proof', 'verify', file, '--node-key', nodeKey, '--json')).code).toBe(1);
});

test('what nobody can say has an exit code and a reason of its own', async () => {
  const empty = await mkdtemp(join(tmpdir(), 'cairn-none-'));
  const { url, token } = node.client;
  const cases: readonly (readonly [args: readonly string[], text: RegExp])[] = [
    [['verify', contextId, '--data', empty], /url: it is not there; give --url, or --data/],
    [['verify', contextId, '--url', 'http://127.0.0.1:1', '--token', token], /no node answers at/],
    [['verify', contextId, '--url', url, '--token', 'wrong'], /the node refuses \(401\)/],
    [['verify', 'x', '--data', data], /the node refuses \(400\): Invalid context id/],
    [['verify', contextId, '--data', data, '--to=99'], /there is no range from 1 to 99/],
    [['verify', contextId, '--data', data, '--from=x'], /a sequence is a number from 1 on/],
    [['verify'], /missing required argument 'context'/],
    [['fly'], /unknown command 'fly'/],
    [['proof', 'verify', join(empty, 'none'), '--node-key', nodeKey], /cannot be read: ENOENT/],
    [['proof', 'verify', '/dev/null'], /required option '--node-key/],
  ];
  for (const [args, text] of cases) {
    const { code, stdout, stderr } = await cairn(...args);
    expect([code, stdout], stderr).toEqual([2, '']);
    expect(stderr).toMatch(text);
  }
  expect((await cairn('--help')).code).toBe(0);
  await rm(empty, { recursive: true });
});

test('a log that was changed is told with both sides', async () => {
  await tamper(
    database,
    contextId,
    `UPDATE transactions SET status = 'failed' WHERE context = $context AND sequence = 4`,
  );

  const { code, stdout } = await cairn('verify', contextId, '--data', data);

  expect(code).toBe(1);
  expect(stdout).toContain('DIVERGES at sequence 4 (seal): its seal is not that of its fields');
  expect(stdout).toContain('  status\n    in the log   failed\n    recomputed   ok\n');
  expect(stdout).toContain('3 transactions before it, from 1 on, were verified.');
});
