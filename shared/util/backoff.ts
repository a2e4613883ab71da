import { setTimeout } from 'node:timers/promises';

const FIRST_MS = 50;
const LAST_MS = 1_000;

/** Waits 50 ms, 100 ms, … up to 1 s, the longer the higher `attempt`; returns early on abort. */
export async function backoff(attempt: number, signal: AbortSignal): Promise<void> {
  const waitMs = Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  await setTimeout(waitMs, undefined, { signal }).catch(() => undefined);
}
