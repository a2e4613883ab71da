/** Wall-clock and monotonic time as a parameter, so that tests and replay can decide it. */
export interface Clock {
  /** Unix time in milliseconds. */
  nowMs(): number;
  /** Unix time in nanoseconds. */
  nowNs(): bigint;
  /** Milliseconds of a clock that never goes back; its zero is arbitrary. */
  monotonicMs(): number;
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  nowNs: () => BigInt(Math.round((performance.timeOrigin + performance.now()) * 1e3)) * 1_000n,
  monotonicMs: () => performance.now(),
};
