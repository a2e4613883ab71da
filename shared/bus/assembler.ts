import type { Part } from './request-batch.ts';

/** Parts of all payloads that are not complete, together. */
const BYTES_MAX = 134_217_728;

interface Incomplete {
  readonly parts: Uint8Array[];
  bytes: number;
  readonly untilMs: number;
}

/** Puts payloads together that were sent in parts; one that lost a part is never complete. */
export class Assembler {
  readonly #incomplete = new Map<string, Incomplete>();
  #bytes = 0;

  /**
   * The whole payload with its last part, null before. `key` tells payloads apart; after `untilMs`
   * nobody waits for this one.
   */
  add(
    key: string,
    payload: Uint8Array,
    { index, hasMore }: Part,
    times: { readonly untilMs: number; readonly nowMs: number },
  ): Uint8Array | null {
    if (index === 0 && !hasMore) return payload;
    this.#makeRoom(payload.length, times.nowMs);
    const entry = this.#entryOf(key, index, times.untilMs);
    if (entry === null) return null;
    // The message that a part came in is larger than the part, and must not be kept for it.
    entry.parts.push(new Uint8Array(payload));
    entry.bytes += payload.length;
    this.#bytes += payload.length;
    if (hasMore) return null;
    this.drop(key);
    return Buffer.concat(entry.parts);
  }

  drop(key: string): void {
    const entry = this.#incomplete.get(key);
    if (entry === undefined) return;
    this.#bytes -= entry.bytes;
    this.#incomplete.delete(key);
  }

  /** Null when a part before this one is missing. */
  #entryOf(key: string, index: number, untilMs: number): Incomplete | null {
    if (index === 0) {
      this.drop(key);
      this.#incomplete.set(key, { parts: [], bytes: 0, untilMs });
    }
    const entry = this.#incomplete.get(key);
    if (entry?.parts.length === index) return entry;
    this.drop(key);
    return null;
  }

  /** Drops what nobody waits for any more, and the oldest above the bound. */
  #makeRoom(bytes: number, nowMs: number): void {
    for (const [key, { untilMs }] of this.#incomplete) {
      if (untilMs < nowMs || this.#bytes + bytes > BYTES_MAX) this.drop(key);
    }
  }
}
