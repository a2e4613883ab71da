import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:http';
import { sql } from 'kysely';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import { keyPairOf, signEd25519 } from '#shared/crypto/ed25519.ts';
import { challengeText, type Challenge } from '#shared/protocol/auth-api.ts';
import { listen } from '#shared/service/listen.ts';
import { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { openTestDatabase } from '../support/log.ts';
import { NODE_KEY, SETUP_TOKEN, startTestNode, type TestNode } from '../support/node.ts';
import {
  ClientKey,
  ethereumWallet,
  nearWallet,
  postOpen,
  requestChallenge,
  type WalletSigner,
} from '../support/wallets.ts';
import { WsClient } from '../support/ws-client.ts';

let node: TestNode;
let client: Client;
let folder: string;
let contextId: string;
let other: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cairn-identity-'));
  node = await startTestNode({
    auth: {
      accessFile: join(folder, 'access.toml'),
      verificationsPerAddress: 100_000,
      verificationsTotal: 100_000,
    },
  });
  client = node.client;
  contextId = await client.open('kv-store');
  other = await client.open('kv-store');
});
afterAll(async () => {
  await node[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  await forgetKeys(node);
});

/** An address of Ethereum is kept in one spelling. */
const spelled = (key: string) => (key.startsWith('0x') ? key.toLowerCase() : key);
const fail = (error: unknown) => {
  throw error;
};

/** A node nobody has logged in to. */
async function forgetKeys({ database }: TestNode): Promise<void> {
  await using owner = openTestDatabase(database.ownerUrl);
  await sql`DELETE FROM client_keys`.execute(owner.kysely);
  await sql`DELETE FROM root_keys`.execute(owner.kysely);
}

interface LoginOptions {
  readonly contextId?: string | null;
  readonly setupToken?: string;
  readonly change?: (body: Record<string, unknown>) => Record<string, unknown>;
  readonly challenge?: Challenge;
}

async function login(wallet: WalletSigner, key: ClientKey, options: LoginOptions = {}) {
  const { change = (body) => body, setupToken = SETUP_TOKEN } = options;
  const challenge =
    options.challenge ?? (await requestChallenge(client, options.contextId ?? null));
  const body = await wallet.sign(challenge, key.signingKey);
  return await postOpen(client, '/admin-api/add-client-key', change({ ...body, setupToken }));
}

/** Calls as a client that has only these headers. */
async function call(
  path: string,
  headers: Record<string, string>,
  init: RequestInit = {},
): Promise<readonly [status: number, text: string]> {
  const response = await fetch(new URL(path, node.url), {
    ...init,
    headers: { 'content-type': 'application/json', ...headers },
  });
  return [response.status, await response.text()];
}

const rpc = (headers: Record<string, string>, params: object, method = 'query') =>
  call('/jsonrpc', headers, {
    method: 'POST',
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
  });

describe('logging in', () => {
  test.each([
    ['NEAR', nearWallet],
    ['Ethereum', ethereumWallet],
  ])(
    'with %s: a root key, client keys, headers on both doors, and the history of it',
    async (_, makeWallet) => {
      const wallet = makeWallet();
      const key = await ClientKey.make(3);

      expect(await login(wallet, key)).toEqual([200, '{"data":"Client key stored"}']);
      const headers = await key.headers('http://localhost:2528');
      expect((await call('/admin-api/contexts', headers))[0]).toBe(200);
      expect(await rpc(headers, { contextId, method: 'len', argsJson: {} })).toEqual([
        200,
        '{"jsonrpc":"2.0","id":1,"result":{"output":0}}',
      ]);
      const [, did] = await call('/admin-api/did', headers);
      expect(JSON.parse(did)).toMatchObject({
        data: {
          did: {
            id: 'did:cali',
            root_keys: [
              {
                signing_key: spelled(wallet.verifyingKey),
                created_at: expect.any(Number) as number,
              },
            ],
            client_keys: [{ signingKey: key.signingKey, contextId: null }],
          },
        },
      });
      const [, history] = await call('/admin-api/identity/history', headers);
      const { events } = (JSON.parse(history) as { data: { events: { kind: string }[] } }).data;
      expect(events.slice(-2).map(({ kind }) => kind)).toEqual([
        'root-key-added',
        'client-key-added',
      ]);
    },
  );

  test('with NEAR and no callback URL, left out or null', async () => {
    const wallet = nearWallet({ hasCallback: false });
    const key = await ClientKey.make(28);
    const withCallback = (callbackUrl: string | null) => (body: Record<string, unknown>) => {
      const { message, metadata } = body['payload'] as { message: object; metadata: object };
      return { ...body, payload: { message, metadata: { ...metadata, callbackUrl } } };
    };

    expect((await login(wallet, key))[0]).toBe(200);
    expect((await login(wallet, key, { change: withCallback(null) }))[0]).toBe(200);
    expect((await login(wallet, key, { change: withCallback('') }))[1]).toContain(
      'Please check the signature',
    );
  });

  test('the headers of the published vector are those that the client library makes', async () => {
    const key = await ClientKey.make(3);

    expect(await key.headers('http://localhost:2528')).toMatchObject({
      signing_key: '4XTTMH7K9Ye2Tp5YbJqdbkhzvHsdWs9VTBDaBZdPRC5ehLMNg',
      challenge: '9T8fbLoWntVWuaeVmUsA9mhD7WzknxYYWSWXReT3Fggm',
      signature:
        '3UXVi6A5sYJgZmkWgarWgS3FFr4r1JSmzKRRKSjKgfp9XKGT9EN5uzpk7CWsRyNFWx7f8nsVK282Zk92svuNhB2U',
    });
  });

  test('a second root key is added by who has one, and may add client keys', async () => {
    const first = nearWallet();
    const second = ethereumWallet();
    const [key, more] = [await ClientKey.make(5), await ClientKey.make(6)];
    await login(first, key);
    expect((await login(second, more))[1]).toContain('Root key does not exist');

    const body = await second.sign(await requestChallenge(client), key.signingKey);
    const headers = await key.headers('x');
    expect(await postOpen(client, '/admin-api/root-key', body, headers)).toEqual([
      200,
      '{"data":"Root key stored"}',
    ]);

    expect((await login(second, more))[0]).toBe(200);
  });

  test('with Sign-In with Ethereum, bound to the challenge and the key by its resources', async () => {
    const wallet = ethereumWallet();
    const key = await ClientKey.make(4);
    const challenge = await requestChallenge(client);
    const message = (resource: string, nonce = Buffer.from(challenge.nonce, 'base64')) =>
      [
        'app.example wants you to sign in with your Ethereum account:',
        wallet.verifyingKey,
        '',
        'Add a key.',
        '',
        'URI: https://app.example/login',
        'Version: 1',
        'Chain ID: 1',
        `Nonce: ${nonce.toString('hex')}`,
        `Issued At: ${new Date().toISOString()}`,
        'Resources:',
        `- urn:cairn:challenge:${challenge.nodeSignature}`,
        `- urn:cairn:client-key:${resource}`,
      ].join('\n');
    const attempt = async (text: string) => {
      const body = await wallet.sign(challenge, key.signingKey, text);
      const path = '/admin-api/add-client-key';
      return await postOpen(client, path, { ...body, setupToken: SETUP_TOKEN });
    };

    expect((await attempt(message('other')))[0]).toBe(400);
    expect((await attempt(message(key.signingKey, Buffer.alloc(32, 1))))[0]).toBe(400);
    expect(await attempt(message(key.signingKey))).toEqual([200, '{"data":"Client key stored"}']);
  });
});

describe('NEAR accounts', () => {
  test('every login asks the network, and what it does not confirm is refused', async () => {
    const live = new Map<string, unknown>();
    let isDown = false;
    const rpc = createServer((request, response) => {
      request.toArray().then((chunks: Buffer[]) => {
        const { params } = JSON.parse(Buffer.concat(chunks).toString()) as {
          params: { public_key: string; account_id: string };
        };
        const permission = live.get(`${params.account_id} ${params.public_key}`);
        const unknown = { error: { cause: { name: isDown ? 'x' : 'UNKNOWN_ACCESS_KEY' } } };
        const known = permission !== undefined && !isDown;
        response.end(JSON.stringify(known ? { result: { permission } } : unknown));
      }, fail);
    });
    const port = await listen(rpc, '127.0.0.1', 0);
    const lines: string[] = [];
    await using asking = await startTestNode({
      database: node.database,
      nodeName: 'asking',
      auth: {
        nearRpcUrls: { testnet: `http://127.0.0.1:${port}` },
        verificationsPerAddress: 1_000,
        verificationsTotal: 1_000,
      },
      log: pino({ level: 'warn' }, { write: (line) => void lines.push(line) }),
    });
    interface Options {
      readonly path?: string;
      readonly headers?: Record<string, string>;
      readonly metadata?: object;
    }
    const attempt = async (wallet: WalletSigner, seed: number, options: Options = {}) => {
      const { path = 'add-client-key', headers = {}, metadata = {} } = options;
      const key = await ClientKey.make(seed);
      const body = await wallet.sign(await requestChallenge(asking.client), key.signingKey);
      const walletMetadata = { ...(body['walletMetadata'] as object), ...metadata };
      const changed = { ...body, walletMetadata, setupToken: SETUP_TOKEN };
      return (await postOpen(asking.client, `/admin-api/${path}`, changed, headers)).join(' ');
    };
    const [first, second] = [nearWallet(), nearWallet()];
    const operator = bearer(client.token);
    const foreign = /^400 .*does not belong to account .*alice.test/;
    const account = `alice.test ${first.verifyingKey}`;

    expect(await attempt(first, 51)).toMatch(foreign);
    expect(await attempt(first, 51, { headers: operator })).toMatch(foreign);
    expect(await attempt(first, 51, { path: 'root-key', headers: operator })).toMatch(foreign);
    live.set(account, { FunctionCall: {} });
    expect(await attempt(first, 51)).toMatch(foreign);
    live.set(account, 'FullAccess');
    const elsewhere = { wallet: { type: 'NEAR', networkId: 'toString' } };
    expect(await attempt(first, 51, { metadata: elsewhere })).toContain('Unknown NEAR network ID');
    expect(await attempt(first, 51, { metadata: { walletAddress: '' } })).toContain(
      'Wallet address not present',
    );
    isDown = true;
    expect(await attempt(first, 51)).toMatch(/^503 .*NEAR RPC of testnet did not tell/);
    expect(lines.join('')).toContain('the NEAR RPC does not tell whose a key is');
    isDown = false;
    expect(await attempt(first, 51)).toMatch(/^200/);
    expect(await attempt(ethereumWallet(), 53, { headers: operator })).toMatch(/^200/);

    // Confirmed keys of the same account are no root keys by that; one that left it is none any more.
    live.set(`alice.test ${second.verifyingKey}`, 'FullAccess');
    expect(await attempt(second, 52)).toMatch(/^400 .*Root key does not exist/);
    live.delete(account);
    live.set(`mallory.test ${first.verifyingKey}`, 'FullAccess');
    expect(await attempt(first, 51, { metadata: { walletAddress: 'mallory.test' } })).toMatch(
      foreign,
    );
    rpc.close();
    rpc.closeAllConnections();
  });
});

describe('attacks on the login', () => {
  test('a fresh node is not claimed by who comes first', async () => {
    const key = await ClientKey.make(7);
    const [status, text] = await login(nearWallet(), key, { setupToken: 'guess' });

    expect([status, text]).toEqual([403, expect.stringContaining('setup token')]);
    expect((await call('/admin-api/contexts', await key.headers('x')))[1]).toBe(
      'Client key does not exist.',
    );
  });

  test('nothing is stored before everything is verified', async () => {
    const wallet = nearWallet();
    const key = await ClientKey.make(8);
    const spoil = (body: Record<string, unknown>) => ({ ...body, walletSignature: 'AAAA' });
    expect((await login(wallet, key, { change: spoil }))[1]).toContain(
      'Please check the signature',
    );

    const { did } = await client.admin<{ did: { root_keys: [] } }>('/admin-api/did');
    expect(did.root_keys).toEqual([]);
  });

  test('a self-made client key does not pass because a root key exists', async () => {
    await login(nearWallet(), await ClientKey.make(9));
    const stranger = await ClientKey.make(10);

    expect(await call('/admin-api/contexts', await stranger.headers('x'))).toEqual([
      401,
      'Client key does not exist.',
    ]);
  });

  test('a challenge is good for one login', async () => {
    const wallet = nearWallet();
    const challenge = await requestChallenge(client);
    expect((await login(wallet, await ClientKey.make(11), { challenge }))[0]).toBe(200);

    const [status, text] = await login(wallet, await ClientKey.make(12), { challenge });
    expect([status, text]).toEqual([400, expect.stringContaining('was used already')]);
  });

  test('a wallet’s signature over something else binds no key', async () => {
    const wallet = ethereumWallet();
    const key = await ClientKey.make(13);
    const victim = await ClientKey.make(14);
    const challenge = await requestChallenge(client);
    for (const message of [
      'hello',
      'null',
      JSON.stringify({ nodeSignature: challenge.nodeSignature, publicKey: victim.signingKey }),
      JSON.stringify({ nodeSignature: 'other', publicKey: key.signingKey }),
    ]) {
      const body = await wallet.sign(challenge, key.signingKey, message);
      const [status, text] = await postOpen(client, '/admin-api/add-client-key', {
        ...body,
        setupToken: SETUP_TOKEN,
      });
      expect([status, text]).toEqual([400, expect.stringMatching('does not name|neither JSON')]);
    }
  });

  test.each([
    ['STARKNET', 'Unsupported wallet type.'],
    ['ICP', 'Unsupported wallet type.'],
  ])('a wallet of type %s is told that it is not supported', async (type, text) => {
    const change = (body: Record<string, unknown>) => ({
      ...body,
      walletMetadata: { wallet: { type, walletName: 'x' }, verifyingKey: '0x1' },
      walletSignature: { signature: ['0x1'], messageHash: '0x2' },
    });
    const answer = await login(nearWallet(), await ClientKey.make(25), { change });
    expect(answer).toEqual([400, JSON.stringify({ error: text })]);
  });

  test('a challenge too old, from the future, or of another node is refused', async () => {
    const nowSeconds = Math.floor(Date.now() / 1_000);
    const forge = (timestamp: number, seed: Uint8Array): Challenge => {
      const unsigned = {
        nonce: Buffer.alloc(32, timestamp & 255).toString('base64'),
        contextId: null,
        timestamp,
      };
      const signature = signEd25519(seed, Buffer.from(challengeText(unsigned)));
      return { ...unsigned, nodeSignature: Buffer.from(signature).toString('base64') };
    };
    const key = await ClientKey.make(15);
    const attempt = async (challenge: Challenge) =>
      (await login(nearWallet(), key, { challenge }))[1];

    expect(await attempt(forge(nowSeconds - 1_000, NODE_KEY))).toContain(' Challenge is too old.');
    expect(await attempt(forge(nowSeconds + 1_000, NODE_KEY))).toContain('from the future');
    expect(await attempt(forge(nowSeconds, new Uint8Array(32).fill(9)))).toContain(
      'Node signature is invalid.',
    );
  });

  test('a login for one context opens no other', async () => {
    const key = await ClientKey.make(16);
    expect((await login(nearWallet(), key, { contextId }))[0]).toBe(200);
    const headers = await key.headers('x', { contextId });

    expect((await rpc(headers, { contextId, method: 'len', argsJson: {} }))[1]).toContain('output');
    const [, refused] = await rpc(headers, { contextId: other, method: 'len', argsJson: {} });
    expect(JSON.parse(refused)).toMatchObject({
      error: {
        type: 'CallError',
        data: {
          type: 'Unauthorized',
          data: { context_id: other, public_key: '', permission: 'context_query' },
        },
      },
    });
    expect((await call(`/admin-api/contexts/${other}`, headers))[0]).toBe(403);
    expect((await call('/admin-api/did', headers))[0]).toBe(403);
    const [, listed] = await call('/admin-api/contexts', headers);
    expect(JSON.parse(listed)).toMatchObject({ data: { contexts: [{ id: contextId }] } });
    const wrong = { ...headers, context_id: other };
    expect(await call('/admin-api/contexts', wrong)).toEqual([
      401,
      'The client key is for another context.',
    ]);
  });

  test.each([
    [{ wallet_type: 'x' }, 'Failed to extract authentication headers.'],
    [{ challenge: '111' }, 'Failed to extract authentication headers.'],
    [{ signature: 'zzz' }, 'Failed to extract authentication headers.'],
    [{ signing_key: 'zzz' }, 'Invalid client key.'],
    [{ signature: '1'.repeat(64) }, 'Invalid signature for provided key.'],
    [{ challenge: '1'.repeat(32) }, 'Invalid signature for provided key.'],
  ])('headers changed by %j are refused', async (change, text) => {
    const key = await ClientKey.make(17);
    await login(nearWallet(), key);
    const headers = { ...(await key.headers('x')), ...change };

    expect(await call('/admin-api/contexts', headers)).toEqual([401, text]);
  });

  test('a signature with a signed time is good for one request, now, and no other', async () => {
    const key = await ClientKey.make(18);
    await login(nearWallet(), key);
    const path = '/admin-api/contexts';
    const sign = (payload: string) => key.headers(payload, { isTimed: true });
    const headers = await sign(`${Date.now()} nonce-1 GET ${path}`);

    expect((await call(path, headers))[0]).toBe(200);
    expect(await call(path, headers)).toEqual([401, 'The signed challenge was used already.']);
    const elsewhere = await sign(`${Date.now()} nonce-2 GET ${path}`);
    expect((await call('/admin-api/applications', elsewhere))[1]).toContain(
      'not about this request',
    );
    const { challenge_payload: _, ...stripped } = await sign(`${Date.now()} nonce-4 GET ${path}`);
    expect((await call('/admin-api/did', stripped))[1]).toContain('send challenge_payload');
    const old = await sign(`${Date.now() - 120_000} nonce-3 GET ${path}`);
    expect((await call(path, old))[1]).toContain('not of now');
  });
});

describe('what is not gained', () => {
  test('a client key changes its context by no second login, until it is revoked', async () => {
    const wallet = nearWallet();
    const key = await ClientKey.make(76);
    expect((await login(wallet, key, { contextId }))[0]).toBe(200);
    for (const wanted of [other, null]) {
      const [status, text] = await login(wallet, key, { contextId: wanted });
      expect([status, text]).toEqual([400, expect.stringContaining('use a new key, or revoke')]);
    }
    expect((await login(wallet, key, { contextId }))[0]).toBe(200);
    await client.admin('/admin-api/identity/keys/revoke', { key: key.signingKey });
    expect((await login(wallet, key, { contextId: other }))[0]).toBe(200);
  });

  test('a login for a context that does not exist says so, and stores nothing', async () => {
    const gone = encodeBase58(new Uint8Array(32).fill(77));
    expect(await login(nearWallet(), await ClientKey.make(77), { contextId: gone })).toEqual([
      404,
      '{"error":"Context not found"}',
    ]);
    const { did } = await client.admin<{ did: { root_keys: [] } }>('/admin-api/did');
    expect(did.root_keys).toEqual([]);
  });

  test('a revoked first key is not the first again; only the operator adds the next', async () => {
    const wallet = nearWallet();
    const key = await ClientKey.make(71);
    expect((await login(wallet, key))[0]).toBe(200);
    await client.admin('/admin-api/identity/keys/revoke', { key: wallet.verifyingKey });

    expect((await login(wallet, key))[1]).toContain('Root key does not exist');
    const body = await wallet.sign(await requestChallenge(client), key.signingKey);
    const answer = await postOpen(client, '/admin-api/add-client-key', body, bearer(client.token));
    expect(answer[0]).toBe(200);
    const { events } = await client.admin<{ events: object[] }>('/admin-api/identity/history');
    expect(events.at(-2)).toMatchObject({
      kind: 'root-key-added',
      subject: wallet.verifyingKey,
      actor: 'admin',
    });
  });

  test('a client key of one root key is not taken over by another', async () => {
    const [first, second] = [nearWallet(), ethereumWallet()];
    const [key, more] = [await ClientKey.make(72), await ClientKey.make(73)];
    await login(first, key);
    const body = await second.sign(await requestChallenge(client), more.signingKey);
    await postOpen(client, '/admin-api/root-key', body, await key.headers('x'));

    expect((await login(second, key, { contextId }))[1]).toContain('belongs to another root key');
    expect((await call('/admin-api/did', await key.headers('x')))[0]).toBe(200);
  });

  test('a token has never more than the key that made it, and makes no other', async () => {
    const key = await ClientKey.make(74);
    await login(nearWallet(), key, { contextId });
    const executor = await executorOf(contextId);
    await writeFile(
      join(folder, 'access.toml'),
      `[[user]]
       id = "boss"
       principals = ["identity:${executor}"]
       allow = ["application_install", "identity_read", "token_create", "context_members"]
       [[user]]
       id = "bob"
       principals = ["client-key:${key.signingKey}"]
       deny = ["context_mutate"]`,
    );
    await client.post('/admin-api/access/reload', {});
    const { access_token: token } = await tokenFor(await key.headers('x', { contextId }));

    const mutate = { contextId, method: 'set', argsJson: { key: 'a', value: 'b' } };
    expect((await rpc(bearer(token), mutate, 'mutate'))[1]).toContain('Unauthorized');
    expect((await rpc(bearer(token), query()))[1]).toContain('output');
    for (const path of ['did', 'identity/history']) {
      expect((await call(`/admin-api/${path}`, bearer(token)))[0]).toBe(403);
    }
    for (const path of ['generate-jwt-token', 'contexts/invite', 'install-application']) {
      expect((await postOpen(client, `/admin-api/${path}`, {}, bearer(token)))[0]).toBe(403);
    }
    await writeFile(join(folder, 'access.toml'), '');
    await client.post('/admin-api/access/reload', {});
  });

  test('a token of a login that was revoked stays dead after the next one', async () => {
    const wallet = nearWallet();
    const key = await ClientKey.make(75);
    await login(wallet, key);
    const { access_token: token } = await tokenFor(await key.headers('x'));
    await client.admin('/admin-api/identity/keys/revoke', { key: key.signingKey });
    expect((await login(wallet, key, { contextId: other }))[0]).toBe(200);

    expect(await rpc(bearer(token), query())).toEqual([401, 'Token not valid.']);
  });

  test('one caller’s bad header shuts nobody else out', async () => {
    await writeFile(join(folder, 'access.toml'), '[[user]]\nallow = "context_query"\n');
    await client.post('/admin-api/access/reload', {});
    await eventually(async () => (await rpc({}, query()))[0] === 200, 1_000);

    expect((await rpc({ authorization: 'Basic zzz' }, query()))[0]).toBe(401);
    expect((await rpc({}, query()))[0]).toBe(200);
    await writeFile(join(folder, 'access.toml'), '');
    await client.post('/admin-api/access/reload', {});
  });
});

describe('revoking', () => {
  test('what is no key is not found', async () => {
    const answer = await client.post('/admin-api/identity/keys/revoke', { key: 'nonsense' });
    expect([answer.status, await answer.json()]).toEqual([
      404,
      { error: 'There is no such root key or client key.' },
    ]);
  });

  test('stops headers, tokens and open sockets within a second', async () => {
    const wallet = nearWallet();
    const key = await ClientKey.make(19);
    await login(wallet, key);
    const headers = await key.headers('x');
    const token = await tokenFor(headers);
    await using socket = await WsClient.connect(node.url, token.access_token);
    await socket.subscribe([contextId]);
    expect((await call('/admin-api/contexts', headers))[0]).toBe(200);

    await client.admin('/admin-api/identity/keys/revoke', { key: key.signingKey });

    await eventually(() => socket.closed?.code === 1008, 1_000);
    await eventually(async () => (await call('/admin-api/contexts', headers))[0] === 401, 1_000);
    expect((await rpc(bearer(token.access_token), query()))[0]).toBe(401);
    const refreshing = { refreshToken: token.refresh_token };
    expect((await postOpen(client, '/admin-api/refresh-jwt-token', refreshing))[0]).toBe(401);
  });

  test('a root key takes its client keys with it, and all go with the DID', async () => {
    const wallet = nearWallet();
    const key = await ClientKey.make(20);
    await login(wallet, key);
    await client.admin('/admin-api/identity/keys/revoke', { key: wallet.verifyingKey });
    await eventually(async () => (await call('/admin-api/did', await key.headers('x')))[0] === 401);

    await login(ethereumWallet(), await ClientKey.make(21));
    const gone = await client.fetch('/admin-api/identity/keys', { method: 'DELETE' });
    expect([gone.status, await gone.text()]).toEqual([200, '']);
    const { did } = await client.admin<{ did: object }>('/admin-api/did');
    expect(did).toEqual({ id: 'did:cali', root_keys: [], client_keys: [] });
  });
});

describe('taking back an operator’s tokens', () => {
  const refresh = (url: string, { refresh_token: refreshToken }: Tokens) =>
    postOpen(new Client(url, ''), '/admin-api/refresh-jwt-token', { refreshToken });
  const len = async (url: string, { access_token: token }: Tokens) =>
    (
      await postOpen(
        new Client(url, ''),
        '/jsonrpc',
        { jsonrpc: '2.0', id: 1, method: 'query', params: query() },
        bearer(token),
      )
    )[0];

  test('revoking everything ends them at once, on all replicas and open sockets', async () => {
    const tokens = await tokenFor(bearer(client.token));
    await using replica = await startTestNode({ database: node.database, nodeName: 'replica' });
    await using socket = await WsClient.connect(replica.url, tokens.access_token);
    await socket.subscribe([contextId]);
    expect([await len(node.url, tokens), await len(replica.url, tokens)]).toEqual([200, 200]);

    await client.fetch('/admin-api/identity/keys', { method: 'DELETE' });

    await eventually(() => socket.closed?.code === 1008, 1_000);
    for (const { url } of [node, replica]) {
      await eventually(async () => (await len(url, tokens)) === 401, 1_000);
      expect((await refresh(url, tokens))[0]).toBe(403);
    }
    const next = await tokenFor(bearer(client.token));
    expect([await len(node.url, next), await len(replica.url, next)]).toEqual([200, 200]);
  });
});

interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
}

async function executorOf(id: string): Promise<string> {
  const path = `/admin-api/contexts/${id}/identities-owned`;
  const { identities } = await client.admin<{ identities: string[] }>(path);
  return identities[0] ?? '';
}

async function tokenFor(headers: Record<string, string>): Promise<Tokens> {
  const body = { contextId, executorPublicKey: await executorOf(contextId) };
  const [status, text] = await postOpen(client, '/admin-api/generate-jwt-token', body, headers);
  if (status !== 200) throw new Error(text);
  return (JSON.parse(text) as { data: Tokens }).data;
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
const query = (id = contextId) => ({ contextId: id, method: 'len', argsJson: {} });

describe('tokens', () => {
  test('are for one identity of one context; a refresh token only refreshes, once', async () => {
    const key = await ClientKey.make(22);
    await login(nearWallet(), key);
    const first = await tokenFor(await key.headers('x'));

    expect((await rpc(bearer(first.access_token), query()))[1]).toContain('output');
    const [, elsewhere] = await rpc(bearer(first.access_token), query(other));
    expect(elsewhere).toContain('Unauthorized');
    const asOther = { ...query(), executorPublicKey: await executorOf(other) };
    expect((await rpc(bearer(first.access_token), asOther))[1]).toContain('Unauthorized');
    expect((await call('/admin-api/did', bearer(first.access_token)))[0]).toBe(403);
    expect(await rpc(bearer(first.refresh_token), query())).toEqual([401, 'Token not valid.']);

    const refresh = (token: string) =>
      postOpen(client, '/admin-api/refresh-jwt-token', { refreshToken: token });
    const [status, text] = await refresh(first.refresh_token);
    expect(status).toBe(200);
    const second = (JSON.parse(text) as { data: Tokens }).data;
    expect((await rpc(bearer(second.access_token), query()))[0]).toBe(200);
    expect(await refresh(first.refresh_token)).toEqual([
      403,
      '{"error":"Refresh token not found"}',
    ]);
    expect((await refresh(second.access_token))[1]).toContain('Invalid token type');
    expect((await refresh('garbage'))[1]).toContain('Invalid refresh token');
  });

  test('that expired, or were signed by somebody else, are refused; the keys are published', async () => {
    await using brief = await startTestNode({
      database: node.database,
      auth: { accessTokenMs: 1_000 },
    });
    const body = { contextId, executorPublicKey: await executorOf(contextId) };
    const operator = new Client(brief.url, client.token);
    const { access_token: expiring } = await operator.admin<Tokens>(
      '/admin-api/generate-jwt-token',
      body,
    );
    await eventually(async () => {
      const [status, text] = await rpc(bearer(expiring), query());
      return status === 401 && text === 'Token expired.';
    });
    const { access_token: token } = await tokenFor(bearer(client.token));
    const [head = '', claims = '', signature = ''] = token.split('.');
    const forged = Buffer.from(JSON.stringify({ alg: 'none' })).toString('base64url');
    for (const wrong of [`${forged}.${claims}.`, `${head}.${claims}.${signature.slice(2)}AA`]) {
      expect(await rpc(bearer(wrong), query())).toEqual([401, 'Token not valid.']);
    }
    const jwks = await (await fetch(new URL('/.well-known/jwks.json', brief.url))).json();
    expect(jwks).toEqual({
      keys: [expect.objectContaining({ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', use: 'sig' })],
    });
  });
});

describe('the node’s own key', () => {
  const sign = (timestamp: number, seed = NODE_KEY) => ({
    'x-timestamp': String(timestamp),
    'x-signature': encodeBase58(signEd25519(seed, Buffer.from(String(timestamp)))),
  });

  test('opens the dev routes for a few seconds, and no other key does', async () => {
    const now = Math.floor(Date.now() / 1_000);
    expect((await call('/admin-api/dev/contexts', sign(now)))[0]).toBe(200);
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'query', params: query() });
    const init = { method: 'POST', body };
    expect((await call('/jsonrpc/dev', sign(now), init))[0]).toBe(200);

    expect(await call('/admin-api/dev/contexts', sign(now - 60))).toEqual([401, '']);
    const stranger = sign(now, new Uint8Array(32).fill(5));
    expect(await call('/admin-api/dev/contexts', stranger)).toEqual([401, '']);
    const key = await ClientKey.make(23);
    await login(nearWallet(), key);
    expect(await call('/jsonrpc/dev', await key.headers('x'), init)).toEqual([401, '']);
    expect(keyPairOf(NODE_KEY).publicKey).toHaveLength(32);
  });
});

describe('the access file', () => {
  const file = () => join(folder, 'access.toml');
  const reload = () => client.post('/admin-api/access/reload', {});

  test('opens and closes doors when it is read again; an error keeps the old rules', async () => {
    expect((await rpc({}, query()))[0]).toBe(401);
    await writeFile(file(), `[[user]]\nallow = ["context_query"]\ncontexts = ["${contextId}"]\n`);
    expect((await reload()).status).toBe(200);

    await eventually(async () => (await rpc({}, query()))[1].includes('output'), 1_000);
    expect((await rpc({}, query(other)))[0]).toBe(401);
    expect((await call('/admin-api/contexts', {}))[0]).toBe(401);

    await writeFile(file(), '[[user]]\nallow = ["context_fly"]\n');
    const refused = await reload();
    expect([refused.status, await refused.text()]).toEqual([
      400,
      '{"error":"the access file is not used: default user: Unknown permission: context_fly"}',
    ]);
    expect((await rpc({}, query()))[1]).toContain('output');
    const metrics = await (await fetch(`${node.internalUrl}/metrics`)).text();
    expect(metrics).toContain('cairn_access_file_errors_total 1');

    await writeFile(file(), '');
    await reload();
    await eventually(async () => (await rpc({}, query()))[0] === 401, 1_000);
  });

  test('is read with a warning for each principal that is no key and no identity', async () => {
    const [key, stranger] = [await ClientKey.make(26), await ClientKey.make(27)];
    await login(nearWallet(), key);
    const known = [`client-key:${key.signingKey}`, `identity:${await executorOf(contextId)}`];
    const unknown = [`jwt:client-key:${stranger.signingKey}`, `identity:${contextId}`];
    await writeFile(
      file(),
      `[[user]]\nid = "u"\nprincipals = ${JSON.stringify([...known, ...unknown])}\n`,
    );

    expect(await (await reload()).json()).toEqual({
      data: {
        warnings: unknown.map((name) => `${name} is no key and no identity that this node knows`),
      },
    });
    await writeFile(file(), '');
    expect(await (await reload()).json()).toEqual({ data: { warnings: [] } });
  });

  test('denies a client key what it had, on open sockets too', async () => {
    const key = await ClientKey.make(24);
    await login(nearWallet(), key);
    const { access_token: token } = await tokenFor(await key.headers('x'));
    await using socket = await WsClient.connect(node.url, token);
    expect((await socket.subscribe([contextId])).error).toBeUndefined();
    expect((await socket.subscribe([other], undefined, 2)).error).toEqual({
      type: 'Unauthorized',
      data: { contextId: other },
    });

    const subject = `jwt:client-key:${key.signingKey}`;
    await writeFile(
      file(),
      `[[user]]\nid = "u"\nprincipals = ["${subject}"]\ndeny = ["context_subscribe"]\n`,
    );
    await reload();

    await eventually(() => socket.closed?.code === 1008, 1_000);
    await writeFile(file(), '');
    await reload();
  });
});

describe('members', () => {
  test('are invited by a signed invitation that is good once, and then may act', async () => {
    const inviterId = await executorOf(contextId);
    const { publicKey } = await client.admin<{ publicKey: string }>(
      '/admin-api/identity/context',
      {},
    );
    const invite = (by: string) =>
      client.admin<string>('/admin-api/contexts/invite', {
        contextId,
        inviterId: by,
        inviteeId: publicKey,
      });
    const invitationPayload = await invite(inviterId);
    await expect(invite(publicKey)).rejects.toThrow('403');
    const join = (payload: string) =>
      client.admin<object | null>('/admin-api/contexts/join', { invitationPayload: payload });
    await expect(join(`${invitationPayload.slice(0, -2)}11`)).rejects.toThrow('invalid invitation');

    const args = { key: 'joined', value: 'yes' };
    const asMember = () => client.execute(contextId, 'set', args, { executorPublicKey: publicKey });
    expect((await asMember()).error?.data).toMatchObject({ type: 'Unauthorized' });
    expect(await join(invitationPayload)).toMatchObject({ contextId, memberPublicKey: publicKey });
    expect((await asMember()).error).toBeUndefined();
    expect(await join(invitationPayload)).toBeNull();

    const { contextUsers } = await client.admin<{ contextUsers: { publicKey: string }[] }>(
      `/admin-api/contexts/${contextId}/users`,
    );
    expect(contextUsers.map((user) => user.publicKey)).toEqual([inviterId, publicKey]);
  });

  test('need the capability to invite, which a manager grants and revokes', async () => {
    const signer = await executorOf(other);
    const { publicKey } = await client.admin<{ publicKey: string }>(
      '/admin-api/identity/context',
      {},
    );
    const invitationPayload = await client.admin<string>('/admin-api/contexts/invite', {
      contextId: other,
      inviterId: signer,
      inviteeId: publicKey,
    });
    await client.admin('/admin-api/contexts/join', { invitationPayload });
    const change = (verb: string, by: string) =>
      client.post(`/admin-api/contexts/${other}/capabilities/${verb}`, {
        capabilities: [[publicKey, 'ManageMembers']],
        signer_id: by,
      });
    const invite = () =>
      client.post('/admin-api/contexts/invite', {
        contextId: other,
        inviterId: publicKey,
        inviteeId: signer,
      });

    expect((await invite()).status).toBe(403);
    expect((await change('grant', publicKey)).status).toBe(403);
    const granted = await change('grant', signer);
    expect([granted.status, await granted.text()]).toEqual([200, 'null']);
    expect((await invite()).status).toBe(200);
    expect(await capabilities()).toMatchObject({ [publicKey]: ['ManageMembers'] });
    expect((await change('revoke', signer)).status).toBe(200);
    expect((await invite()).status).toBe(403);
    expect(await capabilities()).toMatchObject({ [publicKey]: [] });
  });

  test('lose no capability that nobody granted, and who is none gets none', async () => {
    const signer = await executorOf(other);
    const change = async (verb: string, whom: string) => {
      const response = await client.post(`/admin-api/contexts/${other}/capabilities/${verb}`, {
        capabilities: [[whom, 'ManageMembers']],
        signer_id: signer,
      });
      return [response.status, await response.text()];
    };

    expect(await change('revoke', signer)).toEqual([
      409,
      expect.stringContaining('the first member of a context has all capabilities'),
    ]);
    const stranger = encodeBase58(new Uint8Array(32).fill(9));
    expect(await change('grant', stranger)).toEqual([
      400,
      expect.stringContaining(`${stranger} is not a member of the context`),
    ]);
    const { [signer]: all, [stranger]: none } = await capabilities();
    expect([all?.length, none]).toEqual([3, undefined]);
  });

  /** Of every member of the other context. */
  async function capabilities(): Promise<Record<string, string[]>> {
    const { members } = await client.admin<{
      members: { publicKey: string; capabilities: string[] }[];
    }>(`/admin-api/contexts/${other}/capabilities`);
    return Object.fromEntries(members.map((member) => [member.publicKey, member.capabilities]));
  }
});

test('aliases name contexts, applications and identities, once each', async () => {
  const executor = await executorOf(contextId);
  for (const [space, body, value] of [
    ['context', { contextId }, contextId],
    [`identity/${contextId}`, { identity: executor }, executor],
  ] as const) {
    const create = () =>
      client.post(`/admin-api/alias/create/${space}`, { alias: 'home', ...body });
    expect((await create()).status).toBe(200);
    expect((await create()).status).toBe(409);
    const lookup = `/admin-api/alias/lookup/${space}/home`;
    expect(await client.admin(lookup, {})).toEqual({ value });
    expect(await client.admin(`/admin-api/alias/list/${space}`)).toEqual({ home: value });
    await client.admin(`/admin-api/alias/delete/${space}/home`, {});
    expect(await client.admin(lookup, {})).toEqual({ value: null });
  }
});

test('an application is uninstalled once no context is of it', async () => {
  const applicationId = await client.install('only-peers');
  const used = await client.createContext(applicationId);
  const uninstall = () => client.post('/admin-api/uninstall-application', { applicationId });

  const refused = await uninstall();
  expect([refused.status, await refused.text()]).toEqual([409, expect.stringContaining(used)]);
  await client.deleteContext(used);
  expect((await uninstall()).status).toBe(200);
  expect((await uninstall()).status).toBe(404);
});

test('what needs a blockchain says so', async () => {
  const response = await client.fetch(`/admin-api/contexts/${contextId}/proxy-contract`);

  expect([response.status, await response.text()]).toEqual([
    501,
    '{"error":"proposals need a blockchain, which Cairn does not use"}',
  ]);
});

test('a flood of logins is answered 429 with the time to wait, and the operator gets through', async () => {
  await using limited = await startTestNode({
    database: node.database,
    auth: { verificationsPerAddress: 5 },
  });
  const ask = () =>
    fetch(new URL('/admin-api/request-challenge', limited.url), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: '{}',
    });

  const answers = await Promise.all(Array.from({ length: 50 }, ask));
  const refused = answers.filter(({ status }) => status === 429);

  expect(refused.length).toBeGreaterThan(30);
  expect(refused[0]?.headers.get('retry-after')).toBe('1');
  const operator = new Client(limited.url, client.token);
  expect(await operator.admin('/admin-api/contexts')).toBeDefined();
});
