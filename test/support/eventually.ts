import { setTimeout } from 'node:timers/promises';

const POLL_MS = 10;

/** Polls until `check` gives something other than null, undefined or false; throws after `withinMs`. */
export async function eventually<T>(
  check: () => T | Promise<T>,
  withinMs = 20_000,
): Promise<NonNullable<T>> {
  const untilMs = performance.now() + withinMs;
  let failure: unknown = 'it never became true';
  while (performance.now() < untilMs) {
    try {
      const value = await check();
      if (value !== null && value !== undefined && value !== false) return value;
    } catch (error) {
      failure = error;
    }
    await setTimeout(POLL_MS);
  }
  throw new Error(`not within ${withinMs} ms: ${String(failure)}`);
}
