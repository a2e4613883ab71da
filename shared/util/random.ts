import { randomFillSync } from 'node:crypto';

/** Returns `length` fresh random bytes. */
export type Random = (length: number) => Uint8Array;

/** Drawing from the system costs the same for 16 bytes as for many, so they are drawn ahead. */
const AHEAD_BYTES = 8_192;
let ahead = new Uint8Array();

export const systemRandom: Random = (length) => {
  if (length > AHEAD_BYTES) return randomFillSync(new Uint8Array(length));
  if (ahead.length < length) ahead = randomFillSync(new Uint8Array(AHEAD_BYTES));
  const drawn = ahead.slice(0, length);
  ahead.fill(0, 0, length);
  ahead = ahead.subarray(length);
  return drawn;
};
