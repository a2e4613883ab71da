import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import pg from 'pg';
import { createLogger } from '#shared/telemetry/logger.ts';
import { migrate, serviceUrlOf } from '#shared/store/migrate.ts';
import { startEmbeddedPostgres } from '../../services/standalone/embedded-postgres.ts';
import { startNatsServer } from '../../services/standalone/nats-server.ts';

/** Postgres and NATS of one test run. */
export interface Infra {
  readonly postgresUrl: string;
  readonly natsUrl: string;
}

const SERVICE_PASSWORD = 'service';
const TEMPLATE = 'cairn_template';

/**
 * Real servers, in this order: the ones at `TEST_POSTGRES_URL` and `TEST_NATS_URL`, else binaries
 * of this machine (those that `npm start` embeds), else containers. The stack stops them.
 */
export async function startInfra(stack: AsyncDisposableStack, directory: string): Promise<Infra> {
  const postgresUrl = process.env['TEST_POSTGRES_URL'] ?? (await startPostgres(stack, directory));
  const natsUrl = process.env['TEST_NATS_URL'] ?? (await startNats(stack, directory));
  await createTemplate(postgresUrl);
  return { postgresUrl, natsUrl };
}

const log = createLogger({ name: 'test', level: 'error' });

/** `TEST_CONTAINERS=1` asks for containers where binaries could be used. */
const prefersContainers = process.env['TEST_CONTAINERS'] === '1';

async function startPostgres(stack: AsyncDisposableStack, directory: string): Promise<string> {
  const settings = ['max_connections=300'];
  if (!prefersContainers) {
    try {
      const password = randomBytes(8).toString('hex');
      const options = { directory, password, log, settings };
      return stack.use(await startEmbeddedPostgres(options)).ownerUrl;
    } catch (error) {
      log.error({ err: error }, 'no local Postgres, trying a container');
    }
  }
  const { PostgreSqlContainer } = await import('@testcontainers/postgresql');
  const container = new PostgreSqlContainer('postgres:18').withCommand([
    'postgres',
    ...settings.map((setting) => `-c${setting}`),
  ]);
  return stack.use(await container.start()).getConnectionUri();
}

async function startNats(stack: AsyncDisposableStack, directory: string): Promise<string> {
  if (!prefersContainers) {
    try {
      return stack.use(await startNatsServer({ directory, password: 'test', log })).url;
    } catch (error) {
      log.error({ err: error }, 'no local nats-server, trying a container');
    }
  }
  const { GenericContainer, Wait } = await import('testcontainers');
  const container = stack.use(
    await new GenericContainer('nats:2.11')
      .withExposedPorts(4222)
      .withWaitStrategy(Wait.forLogMessage(/Server is ready/))
      .start(),
  );
  return `nats://${container.getHost()}:${container.getMappedPort(4222)}`;
}

/** A database of its own for one test file, cloned from the migrated template. */
export interface TestDatabase extends AsyncDisposable {
  readonly ownerUrl: string;
  readonly serviceUrl: string;
}

export async function createTestDatabase(): Promise<TestDatabase> {
  const postgresUrl = urlOf('CAIRN_TEST_POSTGRES');
  const name = `test_${randomBytes(6).toString('hex')}`;
  await administer(postgresUrl, `CREATE DATABASE ${name} TEMPLATE ${TEMPLATE}`);
  const ownerUrl = withDatabase(postgresUrl, name);
  await migrate({ ownerUrl, servicePassword: SERVICE_PASSWORD });
  return {
    ownerUrl,
    serviceUrl: serviceUrlOf(ownerUrl, SERVICE_PASSWORD),
    [Symbol.asyncDispose]: () => administer(postgresUrl, `DROP DATABASE ${name} WITH (FORCE)`),
  };
}

/** The NATS server of this test run. */
export function testNatsUrl(): string {
  return urlOf('CAIRN_TEST_NATS');
}

/** Hands the servers to the processes that run the tests. */
export function publishInfra({ postgresUrl, natsUrl }: Infra): void {
  process.env['CAIRN_TEST_POSTGRES'] = postgresUrl;
  process.env['CAIRN_TEST_NATS'] = natsUrl;
}

function urlOf(name: string): string {
  const url = process.env[name];
  if (url === undefined) throw new Error(`${name} is not set: the global setup did not run`);
  return url;
}

async function createTemplate(postgresUrl: string): Promise<void> {
  await administer(postgresUrl, `DROP DATABASE IF EXISTS ${TEMPLATE}`);
  await administer(postgresUrl, `CREATE DATABASE ${TEMPLATE}`);
  const ownerUrl = withDatabase(postgresUrl, TEMPLATE);
  await migrate({ ownerUrl, servicePassword: SERVICE_PASSWORD });
}

async function administer(url: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}

function withDatabase(url: string, name: string): string {
  const changed = new URL(url);
  changed.pathname = `/${name}`;
  return changed.href;
}

/** Where the servers of a test run keep their files. */
export const infraDirectory = join(import.meta.dirname, '..', '.infra');
