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
    unauthenticatedMax: z
      .int()
      .min(0)
      .default(100)
      .describe('Connections that may be open without having authenticated.'),
    authenticateMs: z
      .int()
      .min(100)
      .default(5_000)
      .describe('How long such a connection has to authenticate.'),
    sseSubscriptionsMax: z
      .int()
      .min(1)
      .max(128)
      .default(64)
      .describe('Contexts of one session of server-sent events: each is a part of every event id.'),
    sseSessionsMax: z
      .int()
      .min(1)
      .default(1_000)
      .describe('Sessions of server-sent events of one principal.'),
    sseSessionMs: z
      .int()
      .min(1_000)
      .default(86_400_000)
      .describe('How long such a session outlives its last stream’s beginning.'),
    callsPerConnectionMax: z
      .int()
      .min(1)
      .default(64)
      .describe('Calls under way on one connection.'),
    callsMax: z.int().min(1).default(4_096).describe('Calls under way, over all connections.'),
    callMs: z.int().min(100).default(30_000).describe('How long a call may take.'),
    drainMs: z
      .int()
      .min(0)
      .default(5_000)
      .describe('Longest time over which the connections are closed at the end.'),
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
