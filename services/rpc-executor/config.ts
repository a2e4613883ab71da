import { z } from 'zod';

/** Limits and times of the rpc-executor service. */
export const executorConfigSchema = z
  .strictObject({
    owner: z
      .string()
      .min(1)
      .max(200)
      .nullable()
      .default(null)
      .describe(
        'Name under which leases are held, of one process at a time; one that restarts under the same name takes its own back at once. Made of the host’s name and a random part when not set.',
      ),
    workers: z
      .int()
      .min(1)
      .max(256)
      .nullable()
      .default(null)
      .describe('Threads that run applications; all cores but one when not set.'),
    wallClockMs: z.int().min(10).default(15_000).describe('How long one call may run.'),
    leaseValidMs: z
      .int()
      .min(100)
      .default(3_000)
      .describe(
        'How long a lease holds: how long a partition waits for a new owner after a crash.',
      ),
    leaseRenewMs: z.int().min(10).default(1_000).describe('How often leases are renewed.'),
    requestTimeoutMs: z
      .int()
      .min(1)
      .default(30_000)
      .describe('How long a caller waits for its answer.'),
    bodyBytesMax: z.int().min(1).default(2_097_152).describe('Largest body of a request.'),
    batchMax: z.int().min(1).default(100).describe('Most requests in one array of JSON-RPC.'),
    batchRowsMax: z
      .int()
      .min(1)
      .default(1_000)
      .describe('Most transactions in one Postgres commit.'),
    batchBytesMax: z
      .int()
      .min(1)
      .default(33_554_432)
      .describe('Most bytes in one Postgres commit of several transactions.'),
    batchesMax: z.int().min(1).default(2).describe('Postgres commits under way at once.'),
    laneQueueMax: z.int().min(1).default(4_096).describe('Requests that wait in one context.'),
    queueMax: z.int().min(1).default(16_384).describe('Requests that wait in all contexts.'),
    stateBytesMax: z
      .int()
      .min(1)
      .default(536_870_912)
      .describe('State of contexts in memory; idle ones are dropped above it.'),
    fuelPerCallMax: z
      .int()
      .min(1_000)
      .default(1_000_000_000)
      .describe('Fuel that one call may use: an instruction of a guest costs about 1, or 1 ns.'),
    heavyCallFuel: z
      .int()
      .min(1_000)
      .default(20_000_000)
      .describe('A call that uses so much takes its context to a thread of its kind.'),
    fuelPerContextMinute: z
      .int()
      .min(0)
      .default(0)
      .describe('Fuel in a minute of all calls of one context; 0 is no limit.'),
    fuelPerPrincipalMinute: z
      .int()
      .min(0)
      .default(0)
      .describe('Fuel in a minute of all calls of one principal; 0 is no limit.'),
    snapshotEvery: z
      .int()
      .min(1)
      .default(1_000)
      .describe('Transactions of a context between two snapshots of its state.'),
  })
  .refine(({ leaseValidMs, leaseRenewMs }) => leaseRenewMs * 2 <= leaseValidMs, {
    path: ['leaseRenewMs'],
    error:
      'a lease must be renewed twice while it is valid: leaseRenewMs is at most leaseValidMs / 2',
  })
  .describe('JSON-RPC, execution, and the append to the log.');

export type ExecutorConfig = Readonly<z.output<typeof executorConfigSchema>>;
