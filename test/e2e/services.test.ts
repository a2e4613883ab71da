import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeCertificates } from '../support/certificates.ts';
import { serviceSettings, TestCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { createTestDatabase } from '../support/infra.ts';
import { readLog } from '../support/log.ts';
import { startSecuredNats } from '../support/secured-nats.ts';
import { ServiceProcess } from '../support/service-process.ts';
import { WsClient } from '../support/ws-client.ts';

const DASHBOARD = join(import.meta.dirname, '../../deploy/grafana/dashboards/cairn.json');

describe('services as processes of their own', () => {
  let cluster: TestCluster;
  beforeAll(async () => {
    cluster = await TestCluster.start();
  });
  afterAll(() => cluster[Symbol.asyncDispose]());

  test('answer together what one node answers', async () => {
    const { client } = cluster;
    const contextId = await cluster.open('kv-store');
    await using socket = await WsClient.connect(cluster.url, client.token);
    await socket.subscribe([contextId]);

    const { result } = await client.mutate(contextId, 'set', { key: 'a', value: 'b' });

    expect(result?.sequence).toBe('2');
    for (let turn = 0; turn < 4; turn += 1) {
      expect((await client.query(contextId, 'get', { key: 'a' })).result?.output).toBe('b');
    }
    await eventually(() => socket.events('ExecutionEvent', contextId).length > 0);
    expect((await client.fetch('/admin-api/openapi.json')).status).toBe(200);
  });

  test('tell liveness, readiness and figures on a port of their own', async () => {
    for (const { name, internalUrl } of cluster.processes) {
      const read = async (path: string) => await (await fetch(internalUrl + path)).text();
      expect(await read('/livez')).toBe('alive\n');
      await eventually(async () => (await read('/readyz')) === `${name} ready\n`);
      expect(await read('/metrics')).toContain('process_cpu_seconds_total');
    }
  });

  test('have every metric that the dashboard shows', async () => {
    const { panels } = JSON.parse(await readFile(DASHBOARD, 'utf8')) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    const texts = await Promise.all(
      cluster.processes.map(async ({ internalUrl }) => {
        return await (await fetch(`${internalUrl}/metrics`)).text();
      }),
    );
    const there = new Set(
      texts.flatMap((text) =>
        [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)].flatMap(([, name = '', type]) =>
          type === 'histogram' ? ['_bucket', '_sum', '_count'].map((end) => name + end) : [name],
        ),
      ),
    );
    // Prometheus itself makes it.
    there.add('up');

    const shown = panels.flatMap(({ targets }) =>
      targets.flatMap(({ expr }) => expr.match(/\b(cairn|process|nodejs)_\w+|\bup\b/g) ?? []),
    );

    expect(shown.length).toBeGreaterThan(panels.length);
    expect(shown.filter((name) => !there.has(name))).toEqual([]);
  });

  test('do not take a caller behind the ingress for one on this machine', async () => {
    const path = `${import.meta.dirname}/../../examples/kv-store/kv-store.wasm`;

    const response = await cluster.client.post('/admin-api/install-dev-application', {
      path,
      metadata: [],
    });

    expect(response.status).toBe(403);
  });

  test('limit each address behind a trusted proxy, and not the proxy', async () => {
    const auth = await cluster.add('auth', {
      CAIRN_HTTP__TRUSTED_PROXIES: '127.0.0.1',
      CAIRN_AUTH__VERIFICATIONS_PER_ADDRESS: '1',
    });
    const ask = async (address: string) => {
      const headers = { 'x-forwarded-for': address, authorization: 'Bearer wrong' };
      return (await fetch(`${auth.url}/admin-api/refresh-jwt-token`, { method: 'POST', headers }))
        .status;
    };

    const statuses = await Promise.all(['198.51.100.1', '198.51.100.2', '198.51.100.1'].map(ask));

    expect(statuses.toSorted((a, b) => a - b)).toEqual([415, 415, 429]);
    expect(await auth.end()).toBe(0);
  });
});

test('services with their own rights on the bus, and TLS to it, answer together', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'cairn-tls-'));
  stack.defer(() => rm(folder, { recursive: true }));
  const certificates = await makeCertificates(folder);
  const nats = stack.use(await startSecuredNats(certificates));
  const cluster = stack.use(
    await TestCluster.start({
      settings: { CAIRN_NATS__URL: nats.url, CAIRN_NATS__CA_FILE: certificates.caFile },
      settingsOf: (name) => ({
        CAIRN_NATS__USER: name,
        CAIRN_NATS__PASSWORD: nats.passwordOf(name),
      }),
    }),
  );
  const { client } = cluster;
  const contextId = await cluster.open('kv-store');
  await using socket = await WsClient.connect(cluster.url, client.token);
  await socket.subscribe([contextId]);

  for (let turn = 0; turn < 4; turn += 1)
    await client.mutate(contextId, 'set', { key: 'a', value: 'b' });
  await eventually(() => socket.events('ExecutionEvent', contextId).length === 4);
  expect((await client.fetch('/admin-api/openapi.json')).status).toBe(200);
  expect((await client.post('/admin-api/access/reload', {})).status).toBe(200);
  expect((await client.fetch(`/admin-api/contexts/${contextId}/proof?sequence=2`)).status).toBe(
    200,
  );
  const verified = await client.admin<{ job: string }>(
    `/admin-api/contexts/${contextId}/verify`,
    {},
  );
  await client.admin(`/admin-api/contexts/${contextId}/verify/${verified.job}`);

  for (const service of cluster.processes) {
    expect(service.logged('NATS refused something')).toBeUndefined();
    expect(await service.end()).toBe(0);
  }
});

describe('a service that is told to end', () => {
  test('answers what is under way, then ends with code 0', async () => {
    await using cluster = await TestCluster.start({ executors: 1, fanouts: 1 });
    const contextId = await cluster.open('kv-store');
    const [executor] = cluster.all('rpc-executor');
    const [fanout] = cluster.all('subscription-fanout');
    if (executor === undefined || fanout === undefined) throw new Error('not there');
    const owner = new pg.Client({ connectionString: cluster.database.ownerUrl });
    await owner.connect();
    await owner.query('BEGIN; LOCK TABLE transactions IN SHARE ROW EXCLUSIVE MODE');
    const underWay = cluster.client.mutate(contextId, 'set', { key: 'a', value: 'b' });
    await eventually(async () => await isWaitingForLock(owner));

    const ended = executor.end();
    await eventually(async () => (await fetch(`${executor.internalUrl}/readyz`)).status === 503);
    await eventually(async () => await refusesConnections(executor.url));
    await owner.query('COMMIT');
    await owner.end();

    expect((await underWay).result?.sequence).toBe('2');
    expect(await ended).toBe(0);
    await using socket = await WsClient.connect(cluster.url, cluster.client.token);
    expect(await fanout.end()).toBe(0);
    expect(socket.closed).toEqual({ code: 1012, reason: 'service restart' });
    for (const service of [...cluster.all('auth'), ...cluster.all('admin')]) {
      expect(await service.end()).toBe(0);
    }
    expect(await readLog(cluster.database.serviceUrl, contextId)).toHaveLength(2);
  });

  test('does not wait for a request that never comes to its end', async () => {
    await using cluster = await TestCluster.start({ executors: 0, fanouts: 0 });
    const admin = await cluster.add('admin', { CAIRN_INTERNAL__STOP_MS: '3000' });
    const hanging = hangingRequest(admin.url);
    await hanging.arrived;

    expect(await admin.end()).toBe(0);
    hanging.stop();
  });

  test('ends at once, with a code that is not 0, when it takes too long or is told again', async () => {
    await using cluster = await TestCluster.start({ executors: 0 });
    const slow = await cluster.add('rpc-executor', { CAIRN_INTERNAL__STOP_MS: '1000' });
    const contextId = await cluster.open('kv-store');
    const owner = new pg.Client({ connectionString: cluster.database.ownerUrl });
    await owner.connect();
    await owner.query('BEGIN; LOCK TABLE transactions IN SHARE ROW EXCLUSIVE MODE');
    const stuck = async (key: string) =>
      await cluster.client.mutate(contextId, 'set', { key, value: key }).catch(String);

    const first = stuck('a');
    await eventually(async () => await isWaitingForLock(owner));
    expect(await slow.end()).toBe(1);
    expect(slow.logged('the orderly end took too long: ending at once')).toBeDefined();
    await first;

    await owner.query('ROLLBACK');
    const impatient = await cluster.add('rpc-executor');
    await cluster.client.query(contextId, 'len');
    await owner.query('BEGIN; LOCK TABLE transactions IN SHARE ROW EXCLUSIVE MODE');
    const second = stuck('b');
    await eventually(async () => await isWaitingForLock(owner));
    impatient.signal('SIGTERM');
    await eventually(() => {
      impatient.signal('SIGTERM');
      return !impatient.isRunning;
    });
    expect(await impatient.exited).toBe(130);
    expect(impatient.logged('a second signal: ending at once, without order')).toBeDefined();
    await second;
    await owner.end();
  });
});

describe('a service that is started', () => {
  test('waits for the schema of its version, and refuses a newer one', async () => {
    await using database = await createTestDatabase();
    const owner = new pg.Client({ connectionString: database.ownerUrl });
    await owner.connect();
    const { rows } = await owner.query(
      'DELETE FROM kysely_migration WHERE name = (SELECT max(name) FROM kysely_migration) RETURNING name, timestamp',
    );
    const [last] = rows as readonly { readonly name: string; readonly timestamp: string }[];
    const settings = serviceSettings(database);

    await using waiting = new ServiceProcess('admin', settings);
    const waited = await eventually(() => waiting.logged('the schema is not there yet'));
    expect(waited['reason']).toBe(`run "cairn migrate", which has not done ${last?.name} yet`);
    await owner.query('INSERT INTO kysely_migration VALUES ($1, $2)', [
      last?.name,
      last?.timestamp,
    ]);
    await eventually(() => waiting.logged('serving'));
    expect(await waiting.end()).toBe(0);

    await owner.query(`INSERT INTO kysely_migration VALUES ('9999-future', '')`);
    await owner.end();
    await using refusing = new ServiceProcess('admin', settings);
    expect(await refusing.exited).toBe(1);
    expect(refusing.stderr).toContain('migrated by a newer Cairn (9999-future): run that one');
  });

  test('says everything that is wrong with its configuration, and ends with code 2', async () => {
    const settings = { CAIRN_ADMIN__BODY_BYTES_MAX: 'many' };
    await using service = new ServiceProcess('admin', settings, ['--set', 'http.prot=1']);

    expect(await service.exited).toBe(2);
    expect(service.stderr.split('\n')).toEqual([
      expect.stringContaining('cairn admin: --set http.prot: unknown key: did you mean port?'),
      expect.stringContaining('cairn admin: postgres.url is missing'),
      expect.stringContaining('CAIRN_ADMIN__BODY_BYTES_MAX: "many" cannot be used'),
      expect.stringContaining('cairn admin: node.secretKey is missing'),
      '',
    ]);
  });
});

async function isWaitingForLock(owner: pg.Client): Promise<boolean> {
  const { rows } = await owner.query(
    `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
  );
  return rows.length > 0;
}

async function refusesConnections(url: string): Promise<boolean> {
  return await fetch(url).then(
    () => false,
    () => true,
  );
}

/** A request whose body never comes. */
function hangingRequest(url: string): { readonly arrived: Promise<void>; stop: () => void } {
  const headers = { 'content-type': 'application/json', authorization: 'Bearer test-token' };
  const outgoing = request(`${url}/admin-api/contexts`, { method: 'POST', headers });
  outgoing.on('error', () => undefined);
  outgoing.write('{');
  const arrived = new Promise<void>((resolve) => {
    outgoing.on('socket', (socket) => socket.once('connect', () => resolve()));
  });
  return { arrived, stop: () => outgoing.destroy() };
}
