import { z } from 'zod';

/** Limits and times of the rpc-executor service. */
export const executorConfigSchema = z.strictObject({
  /** Name under which leases are held; a restarted executor of the same name takes them at once. */
  owner: z.string().min(1),
  workers: z.int().min(1).default(1),
  wallClockMs: z.int().min(10).default(15_000),
  leaseValidMs: z.int().min(100).default(3_000),
  leaseRenewMs: z.int().min(10).default(1_000),
  requestTimeoutMs: z.int().min(1).default(30_000),
  bodyBytesMax: z.int().min(1).default(2_097_152),
  /** JSON-RPC requests in one array. */
  batchMax: z.int().min(1).default(100),
  batchRowsMax: z.int().min(1).default(1_000),
  batchBytesMax: z.int().min(1).default(33_554_432),
  batchesMax: z.int().min(1).default(2),
  laneQueueMax: z.int().min(1).default(4_096),
  queueMax: z.int().min(1).default(16_384),
  stateBytesMax: z.int().min(1).default(536_870_912),
  /** Fuel that one call may use: an instruction of a guest costs about 1, or 1 ns. */
  fuelPerCallMax: z.int().min(1_000).default(1_000_000_000),
  /** A call that uses so much takes its context to a thread where it holds up nobody else. */
  heavyCallFuel: z.int().min(1_000).default(20_000_000),
  /** Fuel in a minute of all calls of one context, and of one principal; 0 is no limit. */
  fuelPerContextMinute: z.int().min(0).default(0),
  fuelPerPrincipalMinute: z.int().min(0).default(0),
  snapshotEvery: z.int().min(1).default(1_000),
});

export type ExecutorConfig = Readonly<z.output<typeof executorConfigSchema>>;
