import type { ServiceDeps } from '#shared/service/service.ts';
import { authRoutes, type AuthRoutesOptions } from '../../services/auth/http.ts';
import { Client } from './client.ts';
import { createTestDatabase, type TestDatabase, testNatsUrl } from './infra.ts';
import { Ingress } from './ingress.ts';
import { type ServiceName, ServiceProcess } from './service-process.ts';

const ADMIN_TOKEN = 'test-token';
const SECRET = '01'.repeat(32);

/** Paths of the Admin API that the auth service answers. */
const AUTH_PATHS = authRoutes({ deps: {} as ServiceDeps } as AuthRoutesOptions).map(
  ({ path }) => path,
);

export interface ClusterOptions {
  readonly executors?: number;
  readonly fanouts?: number;
  /** Environment variables of every service. */
  readonly settings?: Settings;
  /** Those of one. */
  readonly settingsOf?: (name: ServiceName) => Settings;
}

type Settings = Readonly<Record<string, string>>;

/** Every service as processes of their own behind an ingress, on one database and one NATS. */
export class TestCluster implements AsyncDisposable {
  readonly database: TestDatabase;
  readonly client: Client;
  readonly #ingress: Ingress;
  readonly #settings: Settings;
  readonly #settingsOf: (name: ServiceName) => Settings;
  readonly #processes: ServiceProcess[];

  private constructor(
    database: TestDatabase,
    ingress: Ingress,
    {
      processes,
      settings,
      settingsOf,
    }: Pick<TestCluster, 'processes' | 'settings'> & Required<Pick<ClusterOptions, 'settingsOf'>>,
  ) {
    this.database = database;
    this.#ingress = ingress;
    this.#processes = processes;
    this.#settings = settings;
    this.#settingsOf = settingsOf;
    this.client = new Client(ingress.url, ADMIN_TOKEN);
  }

  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const { executors = 2, fanouts = 1 } = options;
    const database = await createTestDatabase();
    const { settingsOf = () => ({}) } = options;
    const settings = {
      ...serviceSettings(database),
      CAIRN_INTERNAL__UNREADY_MS: '200',
      ...options.settings,
    };
    const processes: ServiceProcess[] = [];
    const targets = (name: ServiceName) => () =>
      processes
        .filter((one) => one.name === name && one.isRunning && !one.isEnding)
        .map(({ url }) => url);
    const ingress = await Ingress.start([
      { prefixes: AUTH_PATHS, targets: targets('auth') },
      { prefixes: ['/admin-api'], targets: targets('admin') },
      { prefixes: ['/jsonrpc'], targets: targets('rpc-executor') },
      { prefixes: ['/ws', '/sse'], targets: targets('subscription-fanout') },
    ]);
    const cluster = new TestCluster(database, ingress, { processes, settings, settingsOf });
    const started = await Promise.allSettled([
      cluster.add('auth'),
      cluster.add('admin'),
      cluster.add('sync'),
      ...Array.from({ length: executors }, () => cluster.add('rpc-executor')),
      ...Array.from({ length: fanouts }, () => cluster.add('subscription-fanout')),
    ]);
    const failure = started.find(({ status }) => status === 'rejected');
    if (failure?.status !== 'rejected') return cluster;
    await cluster[Symbol.asyncDispose]();
    throw failure.reason;
  }

  get url(): string {
    return this.#ingress.url;
  }

  get processes(): ServiceProcess[] {
    return this.#processes;
  }

  get settings(): Readonly<Record<string, string>> {
    return this.#settings;
  }

  /** Starts one more process of a service. */
  async add(
    name: ServiceName,
    settings: Readonly<Record<string, string>> = {},
  ): Promise<ServiceProcess> {
    const service = await ServiceProcess.start(name, {
      ...this.#settings,
      ...this.#settingsOf(name),
      ...settings,
    });
    this.#processes.push(service);
    return service;
  }

  /** Installs an example, as the operator does on the machine of the admin service, and opens a context of it. */
  async open(application: Parameters<Client['install']>[0]): Promise<string> {
    const [admin] = this.all('admin');
    if (admin === undefined) throw new Error('there is no admin service');
    const applicationId = await new Client(admin.url, ADMIN_TOKEN).install(application);
    return await this.client.createContext(applicationId);
  }

  all(name: ServiceName): readonly ServiceProcess[] {
    return this.#processes.filter((one) => one.name === name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ingress[Symbol.asyncDispose]();
    await Promise.all(this.#processes.map((one) => one[Symbol.asyncDispose]()));
    await this.database[Symbol.asyncDispose]();
  }
}

/** What a service needs to run on a database of a test. */
export function serviceSettings({ serviceUrl }: TestDatabase): Readonly<Record<string, string>> {
  return {
    CAIRN_POSTGRES__URL: serviceUrl,
    CAIRN_NATS__URL: testNatsUrl(),
    CAIRN_NODE__SECRET_KEY: SECRET,
    CAIRN_AUTH__ADMIN_TOKEN: ADMIN_TOKEN,
    CAIRN_AUTH__SETUP_TOKEN: 'test-setup',
    CAIRN_AUTH__NODE_KEY: SECRET,
  };
}
