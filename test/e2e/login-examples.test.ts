import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createTestDatabase, testNatsUrl } from '../support/infra.ts';
import { NodeProcess } from '../support/node-process.ts';

/** The examples of a login, run as the guide says, against a node as `npm start` runs it. */

const ROOT = join(import.meta.dirname, '../..');

let data: string;
let stack: AsyncDisposableStack;
let node: NodeProcess;
beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'cairn-login-examples-'));
  stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const env = { DATABASE_URL: database.ownerUrl, NATS_URL: testNatsUrl() };
  node = stack.use(await NodeProcess.start({ data, args: ['--no-demo'], env }));
});
afterAll(async () => {
  await stack.disposeAsync();
  await rm(data, { recursive: true });
});

async function run(name: string, env: Record<string, string>): Promise<string> {
  const script = join(ROOT, 'examples/login', name);
  const { stdout } = await promisify(execFile)(process.execPath, [script], {
    cwd: ROOT,
    env: { ...process.env, CAIRN_URL: node.url, ...env },
    timeout: 30_000,
  });
  return stdout;
}

const EVERY_STEP = [
  /^logged in as \S+ with the client key \S+\n/,
  /\nopened the context \S+\n/,
  /\nset by signed headers: .*"result"/,
  /\nget by a token: .*"output":"hello"/,
  /\nseen on the socket: Updated .*hello again/,
  /\nget by a refreshed token: .*"output":"hello again"/,
];

test('an Ethereum wallet claims the node, and its client key uses it', async () => {
  const setupToken = /setup token +(\S+)/.exec(node.stdout)?.[1] ?? '';
  const output = await run('ethereum.ts', { SETUP_TOKEN: setupToken });
  for (const step of EVERY_STEP) expect(output).toMatch(step);
});

test('a NEAR wallet joins it with the admin token, and its client key uses it', async () => {
  const output = await run('near.ts', { ADMIN_TOKEN: node.client.token });
  for (const step of EVERY_STEP) expect(output).toMatch(step);
});

test('a wallet that nobody let in is told so', async () => {
  await expect(run('ethereum.ts', {})).rejects.toThrow('Root key does not exist');
});
