import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { listen } from '#shared/service/listen.ts';
import { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { createTestDatabase, testNatsUrl } from '../support/infra.ts';
import { NodeProcess } from '../support/node-process.ts';
import {
  ClientKey,
  ethereumWallet,
  nearWallet,
  postOpen,
  requestChallenge,
} from '../support/wallets.ts';
import { WsClient } from '../support/ws-client.ts';

/** What an application's user goes through, against a node as `npm start` runs it. */

let data: string;
let stack: AsyncDisposableStack;
let node: NodeProcess;
beforeAll(async () => {
  data = await mkdtemp(join(tmpdir(), 'cairn-login-'));
  stack = new AsyncDisposableStack();
  const database = stack.use(await createTestDatabase());
  const env = { DATABASE_URL: database.ownerUrl, NATS_URL: testNatsUrl() };
  node = stack.use(await NodeProcess.start({ data, args: ['--no-demo'], env }));
});
afterAll(async () => {
  await stack.disposeAsync();
  await rm(data, { recursive: true });
});

test.each([
  ['NEAR', nearWallet, 61],
  ['Ethereum', ethereumWallet, 62],
])(
  '%s: claim or join the node, administer it, call and watch an application',
  async (_name, makeWallet, seed) => {
    const setupToken = /setup token +(\S+)/.exec(node.stdout)?.[1];
    const anonymous = new Client(node.url, '');
    const wallet = makeWallet();
    const key = await ClientKey.make(seed);

    // 1. The wallet signs the node's challenge for the application's key.
    const challenge = await requestChallenge(anonymous);
    const body = await wallet.sign(challenge, key.signingKey);
    const isFirst = seed === 61;
    if (!isFirst) {
      const owner = await (await ClientKey.make(61)).headers('add a root key');
      const added = await postOpen(anonymous, '/admin-api/root-key', body, owner);
      expect(added).toEqual([200, '{"data":"Root key stored"}']);
    }
    const fresh = await wallet.sign(await requestChallenge(anonymous), key.signingKey);
    const claim = isFirst ? { ...body, setupToken } : fresh;
    expect(await postOpen(anonymous, '/admin-api/add-client-key', claim)).toEqual([
      200,
      '{"data":"Client key stored"}',
    ]);

    // 2. The key's headers install an application from a URL and open a context of it.
    const headers = await key.headers(node.url);
    const module = await readFile(
      join(import.meta.dirname, '../../examples/only-peers/only-peers.wasm'),
    );
    const site = createServer((_request, response) => response.end(module));
    const url = `http://127.0.0.1:${await listen(site, '127.0.0.1', 0)}/app.wasm`;
    const admin = async (path: string, sent: object) => {
      const [status, text] = await postOpen(anonymous, path, sent, headers);
      expect(status, text).toBe(200);
      return (JSON.parse(text) as { data: Record<string, string> }).data;
    };
    const { applicationId } = await admin('/admin-api/install-application', { url, metadata: [] });
    site.close();
    const { contextId = '', memberPublicKey = '' } = await admin('/admin-api/contexts', {
      applicationId,
      initializationParams: [],
    });

    // 3. A token for the member calls the application; a subscriber sees the event.
    const tokens = await admin('/admin-api/generate-jwt-token', {
      contextId,
      executorPublicKey: memberPublicKey,
    });
    const user = new Client(node.url, tokens['access_token'] ?? '');
    await using subscriber = await WsClient.connect(node.url, user.token);
    expect((await subscriber.subscribe([contextId])).error).toBeUndefined();
    const post = await user.mutate(contextId, 'create_post', { title: 'One', content: 'Two' });
    expect(post.error).toBeUndefined();
    await eventually(() => subscriber.events('ExecutionEvent', contextId).length === 1);
    const posts = await user.query(contextId, 'posts', {});
    expect(posts.result?.output).toMatchObject([{ title: 'One', content: 'Two' }]);
  },
);
