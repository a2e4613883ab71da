import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseContextId } from '#shared/protocol/ids.ts';
import { verifyLog } from '../../services/sync/replay/verify-log.ts';
import type { Client } from '../support/client.ts';
import { openTestDatabase, readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';

const FORUM = join(import.meta.dirname, '../../examples/forum-typescript/forum.js');

let node: TestNode;
let client: Client;
let folder: string;
beforeAll(async () => {
  node = await startTestNode();
  client = node.client;
  folder = await mkdtemp(join(tmpdir(), 'cairn-test-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true });
  await node[Symbol.asyncDispose]();
});

test('a forum in TypeScript is installed, called, logged and replayed like any application', async () => {
  const contextId = await client.createContext(await install(FORUM));
  const post = { title: 'Hello', content: 'Wörld' };

  const created = await client.mutate(contextId, 'create_post', post);
  const comment = { post_id: 0, text: 'Hi', user: 'ada' };
  await client.mutate(contextId, 'create_comment', comment);
  const refused = await client.mutate(contextId, 'create_comment', { ...comment, post_id: 7 });
  const posts = await client.query(contextId, 'posts');

  expect(created.result?.output).toEqual({ id: 0, ...post, comments: [] });
  expect(refused.error?.data).toMatch(/^the method call returned an error: \[34, /);
  expect(posts.result?.output).toEqual([
    { id: 0, ...post, comments: [{ id: 0, text: 'Hi', user: 'ada' }] },
  ]);
  const log = await readLog(node.database.serviceUrl, contextId);
  expect(log.map(({ status, events }) => [status, ...events.map(({ kind }) => kind)])).toEqual([
    ['ok'],
    ['ok', 'PostCreated'],
    ['ok', 'CommentCreated'],
    ['failed'],
  ]);
  await using database = openTestDatabase(node.database.serviceUrl);
  const verified = await verifyLog(database, parseContextId(contextId));
  expect(verified).toMatchObject({ outcome: 'verified', verified: log.length });
});

test('integers of 64 bits pass every door exactly', async () => {
  const contextId = await client.createContext(
    await installText('export const next = ({ n }) => ({ n: n + 1n, big: 2n ** 64n - 1n });'),
  );

  const response = await client.post(
    '/jsonrpc',
    `{"jsonrpc":"2.0","id":1,"method":"query","params":{"contextId":"${contextId}","method":"next","argsJson":{"n":9223372036854775807}}}`,
  );

  expect(await response.text()).toContain(
    '"output":{"n":9223372036854775808,"big":18446744073709551615}',
  );
});

test('neighbours do not notice an application that loops, recurses or allocates', async () => {
  const hostile = await client.createContext(
    await installText(`
      export const loop = () => { for (;;); };
      export const recurse = () => recurse();
      export const allocate = () => { const all = []; for (;;) all.push(new Uint8Array(1e5)); };
      export const flood = () => { for (;;) log('x'); };
      export const large = () => Array(17).fill('x'.repeat(1048573));
    `),
  );
  const forum = await client.createContext(await install(FORUM));

  const errors: unknown[] = [];
  for (const method of ['loop', 'recurse', 'allocate', 'flood', 'large']) {
    errors.push((await client.mutate(hostile, method, {})).error?.data);
    const post = await client.mutate(forum, 'create_post', { title: 'a', content: method });
    expect(post.error).toBeUndefined();
  }

  expect(errors).toEqual([
    'out of fuel',
    expect.stringMatching(/^guest panicked: RangeError: Maximum call stack size exceeded at appl/),
    expect.stringMatching(/^guest panicked: InternalError: out of memory at application\.js:4:/),
    'logs overflow',
    'out of fuel',
  ]);
});

test('what cannot be installed is refused with its place', async () => {
  await expect(installText('export function a() {\n  let x = ;\n}')).rejects.toThrow(
    /400 .*cannot be installed: SyntaxError: .* at application\.js:2:11/,
  );
  await expect(installText("import 'fs'; export function a() {}")).rejects.toThrow(
    'only \\"cairn\\" can be imported',
  );
});

async function install(path: string): Promise<string> {
  const { applicationId } = await client.admin<{ applicationId: string }>(
    '/admin-api/install-dev-application',
    { path },
  );
  return applicationId;
}

async function installText(source: string): Promise<string> {
  const path = join(folder, 'application.js');
  await writeFile(path, source);
  return await install(path);
}
