import { createLogger } from '#shared/telemetry/logger.ts';
import { type NodeConfig, startNode } from '../../services/standalone/compose.ts';
import { Client } from './client.ts';
import { createTestDatabase, type TestDatabase, testNatsUrl } from './infra.ts';

export const ADMIN_TOKEN = 'test-token';
export const SETUP_TOKEN = 'test-setup';
export const NODE_KEY = new Uint8Array(32).fill(4);

/** A whole node in this process, on a database of its own or on that of another node. */
export interface TestNode extends AsyncDisposable {
  readonly client: Client;
  readonly url: string;
  readonly internalUrl: string;
  readonly database: TestDatabase;
  /** Stops the node; its database stays, so that `startTestNode` can be given it. */
  stop(): Promise<void>;
}

export async function startTestNode(
  options: Partial<NodeConfig> & { readonly database?: TestDatabase } = {},
): Promise<TestNode> {
  const { database: given, ...config } = options;
  const database = given ?? (await createTestDatabase());
  const node = await startNode({
    databaseUrl: database.serviceUrl,
    natsUrl: testNatsUrl(),
    adminToken: ADMIN_TOKEN,
    setupToken: SETUP_TOKEN,
    nodeKey: NODE_KEY,
    secretKey: new Uint8Array(32).fill(1),
    nodeName: 'test',
    port: 0,
    internalPort: 0,
    open: false,
    log: createLogger({ name: 'test', level: process.env['TEST_LOG_LEVEL'] ?? 'fatal' }),
    ...config,
  });
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (!isStopped) await node[Symbol.asyncDispose]();
    isStopped = true;
  };
  return {
    client: new Client(node.url, ADMIN_TOKEN),
    url: node.url,
    internalUrl: node.internalUrl,
    database,
    stop,
    [Symbol.asyncDispose]: async () => {
      await stop();
      if (given === undefined) await database[Symbol.asyncDispose]();
    },
  };
}
