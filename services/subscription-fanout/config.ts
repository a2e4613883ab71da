import { z } from 'zod';

/** Limits and times of the subscription-fanout service. */
export const fanoutConfigSchema = z
  .strictObject({
    dialect: z
      .enum(['a', 'b', 'both'])
      .default('both')
      .describe('Generation of Calimero’s events that is sent.'),
    connectionsMax: z.int().min(1).default(10_000).describe('Open connections.'),
    subscriptionsPerConnectionMax: z
      .int()
      .min(1)
      .default(1_000)
      .describe('Contexts that one connection follows.'),
    contextsMax: z
      .int()
      .min(1)
      .default(100_000)
      .describe('Contexts that this replica follows at once, over all connections.'),
    lingerMs: z
      .int()
      .min(0)
      .default(30_000)
      .describe('How long a context is followed after its last listener left.'),
    lingerContextsMax: z
      .int()
      .min(0)
      .default(1_000)
      .describe('Contexts that are followed for nobody; those left first go first.'),
    frameBytesMax: z.int().min(1_024).default(65_536).describe('Largest frame of a client.'),
    outgoingBytesMax: z
      .int()
      .min(65_536)
      .default(4_194_304)
      .describe(
        'Unwritten bytes above which a connection is lagging; not below a socket’s high water mark.',
      ),
    lagMs: z
      .int()
      .min(100)
      .default(30_000)
      .describe('How long a lagging connection may make no progress before it is closed.'),
    heartbeatMs: z.int().min(100).default(30_000).describe('How often a connection is probed.'),
    ringMax: z
      .int()
      .min(1)
      .default(1_000)
      .describe('Recent transactions kept encoded per context.'),
    ringBytesMax: z
      .int()
      .min(1)
      .default(8_388_608)
      .describe('Bytes of recent transactions kept encoded per context.'),
    subscribeMs: z
      .int()
      .min(100)
      .default(10_000)
      .describe('How long a subscribe waits for the log before it is refused.'),
  })
  .describe('WebSocket subscriptions.');

export type FanoutConfig = Readonly<z.output<typeof fanoutConfigSchema>>;
