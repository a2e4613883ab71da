import { createLogger } from '#shared/telemetry/logger.ts';
import { startNode } from '../../../services/standalone/compose.ts';

/** A node that sends one frame for each transaction, as a process of its own. */
const env = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is not set`);
  return value;
};
const node = await startNode({
  databaseUrl: env('DATABASE_URL'),
  natsUrl: env('NATS_URL'),
  adminToken: 'bench',
  setupToken: 'bench',
  nodeKey: new Uint8Array(32).fill(4),
  secretKey: new Uint8Array(32).fill(1),
  nodeName: process.env['NODE_NAME'] ?? 'bench',
  port: 0,
  internalPort: 0,
  open: true,
  fanout: { dialect: 'b', connectionsMax: 20_000 },
  log: createLogger({ name: 'bench', level: 'error' }),
});
const [port, internalPort] = [node.url, node.internalUrl].map((url) => Number(new URL(url).port));
process.stdout.write(`${JSON.stringify({ port, internalPort })}\n`);
