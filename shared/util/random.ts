import { randomFillSync } from 'node:crypto';

/** Returns `length` fresh random bytes. */
export type Random = (length: number) => Uint8Array;

export const systemRandom: Random = (length) => randomFillSync(new Uint8Array(length));
