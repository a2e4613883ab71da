import { z } from 'zod';

/** Limits and times of the subscription-fanout service. */
export const fanoutConfigSchema = z.strictObject({
  /** Generation of Calimero's events that is sent. */
  dialect: z.enum(['a', 'b', 'both']).default('both'),
  connectionsMax: z.int().min(1).default(10_000),
  subscriptionsPerConnectionMax: z.int().min(1).default(1_000),
  /** Contexts that this replica follows at once, over all connections. */
  contextsMax: z.int().min(1).default(100_000),
  /** Largest frame of a client. */
  frameBytesMax: z.int().min(1_024).default(65_536),
  /** Unwritten bytes above which a connection is lagging; not below a socket's high water mark. */
  outgoingBytesMax: z.int().min(65_536).default(4_194_304),
  /** How long a lagging connection may make no progress before it is closed. */
  lagMs: z.int().min(100).default(30_000),
  heartbeatMs: z.int().min(100).default(30_000),
  /** Recent transactions kept encoded per context. */
  ringMax: z.int().min(1).default(1_000),
  ringBytesMax: z.int().min(1).default(8_388_608),
  /** How long a subscribe waits for the log before it is refused. */
  subscribeMs: z.int().min(100).default(10_000),
});

export type FanoutConfig = Readonly<z.output<typeof fanoutConfigSchema>>;
