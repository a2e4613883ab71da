/**
 * Fuel for what the host does on a guest's behalf, in the unit of the guest's own instructions:
 * about a nanosecond of this thread. Part of what an execution version means
 * ([execution-version.ts](execution-version.ts)): a change needs a new version.
 */
export const HOST_COSTS = {
  call: 1_000,
  readByte: 1,
  /** What is written goes to the log, and to every subscriber. */
  writtenByte: 10,
  randomByte: 4,
  /** JSON with integers that only JavaScript's BigInt holds, before a script reads it. */
  bigIntegerJsonByte: 16,
  /** One verification of an ed25519 signature. */
  signature: 150_000,
} as const;
