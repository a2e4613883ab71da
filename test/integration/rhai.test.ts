import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { parseContextId } from '#shared/protocol/ids.ts';
import { verifyLog } from '../../services/sync/replay/verify-log.ts';
import type { Client } from '../support/client.ts';
import { openTestDatabase, readLog } from '../support/log.ts';
import { startTestNode, type TestNode } from '../support/node.ts';

const FORUM = join(import.meta.dirname, '../../examples/forum-rhai/forum.rhai');

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

test('a forum in Rhai is installed, called, logged and replayed like any application', async () => {
  const contextId = await client.createContext(await install(FORUM));
  const post = { title: 'Hello', content: 'Wörld' };

  const created = await client.mutate(contextId, 'create_post', post);
  const comment = { post_id: 0, text: 'Hi', user: 'ada' };
  await client.mutate(contextId, 'create_comment', comment);
  const refused = await client.mutate(contextId, 'create_comment', { ...comment, post_id: 7 });
  const written = await client.query(contextId, 'create_post', post);
  const posts = await client.query(contextId, 'posts');

  expect(created.result?.output).toEqual({ id: 0, ...post, comments: [] });
  expect(refused.error?.data).toMatch(/^the method call returned an error: \[34, /);
  expect(written.error?.data).toMatch(/read-only store/);
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
  const contextId = await client.createContext(await installText('fn next(n) { #{ n: n + 1 } }'));

  const response = await client.post(
    '/jsonrpc',
    `{"jsonrpc":"2.0","id":1,"method":"query","params":{"contextId":"${contextId}","method":"next","argsJson":{"n":9223372036854775806}}}`,
  );

  expect(await response.text()).toContain('"output":{"n":9223372036854775807}');
});

test('neighbours do not notice an application that loops, recurses, allocates or floods', async () => {
  const hostile = await client.createContext(
    await installText(`
      fn spin() { loop { } }
      fn recurse() { recurse() }
      fn allocate() { let s = "x"; loop { s += s; } }
      fn flood() { loop { print("x"); } }
      fn emitting() { for i in 0..1000 { emit("E", i); } }
      fn write() { let v = blob(1000000); for i in 0..1000 { storage::set(\`\${i}\`, v); } }
      fn large() { blob(100000000) }
      fn throws() { throw "no"; }
    `),
  );
  const forum = await client.createContext(await install(FORUM));

  const errors: unknown[] = [];
  for (const method of 'spin recurse allocate flood emitting write large throws'.split(' ')) {
    errors.push((await client.mutate(hostile, method, {})).error?.data);
    const post = await client.mutate(forum, 'create_post', { title: 'a', content: method });
    expect(post.error).toBeUndefined();
  }

  expect(errors).toEqual([
    'out of fuel',
    expect.stringMatching(/^guest panicked: Stack overflow at script\.rhai:/),
    expect.stringMatching(/^guest panicked: out of memory at script\.rhai:/),
    'logs overflow',
    'events overflow',
    'writes overflow',
    expect.stringMatching(/^guest panicked: out of memory at script\.rhai:/),
    'guest panicked: no at script.rhai:9:21',
  ]);
});

test('a script that cannot be parsed is refused with its place', async () => {
  await expect(installText('fn a() {\n  let x = ;\n}')).rejects.toThrow(
    /400 .*cannot be installed: line 2, column 11: Unexpected ';'/,
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
  const path = join(folder, 'application.rhai');
  await writeFile(path, source);
  return await install(path);
}
