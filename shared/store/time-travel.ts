import type { Database } from './database.ts';
import type { Lineage } from './lineage.ts';
import { streamChanges } from './log-reader.ts';
import { findSnapshot, readSnapshot, type StateEntry } from './snapshot-store.ts';

/** Some keys of a state, as latin1 text. */
export interface KeyFilter {
  /** What they begin with. */
  readonly prefix: string;
  /** The one that they come after in order, or null. */
  readonly after: string | null;
}

/** What became of a key between two sequences; null where it was not there. */
export interface KeyDifference {
  readonly key: string;
  readonly before: Uint8Array | null;
  readonly after: Uint8Array | null;
}

type Values = Map<string, Uint8Array | null>;

const PAGE_KEYS = 500;

/**
 * The state of a context at a sequence, in pages, in order of key: the nearest snapshot below it
 * and the diffs from there. Nothing is executed. In memory are the keys that changed behind the
 * snapshot, not the state.
 */
export async function* streamState(
  database: Database,
  lineage: Lineage,
  { at, filter }: { readonly at: bigint; readonly filter: KeyFilter },
): AsyncGenerator<readonly StateEntry[]> {
  const snapshot = await findSnapshot(database, lineage, at);
  const from = snapshot?.sequence ?? 0n;
  const isWanted = (key: string) => isIn(filter, key);
  const changed = await lastValues(database, lineage, { from, to: at, isWanted });
  const newer = [...changed].sort(byKey);
  let next = 0;
  for await (const older of snapshot === null ? [] : readSnapshot(database, snapshot)) {
    const page: StateEntry[] = [];
    for (const [key, value] of older) {
      if (!isWanted(key)) continue;
      for (; next < newer.length && isBefore(newer[next], key); next += 1) add(page, newer[next]);
      if (!changed.has(key)) page.push([key, value]);
    }
    if (page.length > 0) yield page;
    if (isBehind(filter, older.at(-1)?.[0])) break;
  }
  for (; next < newer.length; next += PAGE_KEYS) {
    const page: StateEntry[] = [];
    for (const entry of newer.slice(next, next + PAGE_KEYS)) add(page, entry);
    if (page.length > 0) yield page;
  }
}

/**
 * What changed between two sequences, in pages, in order of key: a key that was changed and changed
 * back is not in it. In memory are the keys that were changed, with both values.
 */
export async function* streamDifference(
  database: Database,
  lineage: Lineage,
  range: { readonly from: bigint; readonly to: bigint; readonly filter: KeyFilter },
): AsyncGenerator<readonly KeyDifference[]> {
  const { from, to, filter } = range;
  const isWanted = (key: string) => isIn(filter, key);
  const changed = await lastValues(database, lineage, { from, to, isWanted });
  const before = await valuesAt(database, lineage, { at: from, keys: changed });
  let page: KeyDifference[] = [];
  for (const [key, after] of [...changed].sort(byKey)) {
    const old = before.get(key) ?? null;
    if (isSame(old, after)) continue;
    page.push({ key, before: old, after });
    if (page.length < PAGE_KEYS) continue;
    yield page;
    page = [];
  }
  if (page.length > 0) yield page;
}

/** What the diffs after `from` up to and with `to` leave of each wanted key that they change. */
async function lastValues(
  database: Database,
  lineage: Lineage,
  range: {
    readonly from: bigint;
    readonly to: bigint;
    readonly isWanted: (key: string) => boolean;
  },
): Promise<Values> {
  const values: Values = new Map();
  for await (const changes of streamChanges(database, lineage, range)) {
    for (const { key: bytes, value } of changes) {
      const key = Buffer.from(bytes).toString('latin1');
      // Copied, so that a small value does not keep a whole row in memory.
      if (range.isWanted(key)) values.set(key, value === null ? null : Uint8Array.from(value));
    }
  }
  return values;
}

async function valuesAt(
  database: Database,
  lineage: Lineage,
  { at, keys }: { readonly at: bigint; readonly keys: ReadonlyMap<string, unknown> },
): Promise<Values> {
  const values: Values = new Map();
  if (keys.size === 0) return values;
  const snapshot = await findSnapshot(database, lineage, at);
  for await (const entries of snapshot === null ? [] : readSnapshot(database, snapshot)) {
    for (const [key, value] of entries) if (keys.has(key)) values.set(key, Uint8Array.from(value));
  }
  const range = {
    from: snapshot?.sequence ?? 0n,
    to: at,
    isWanted: (key: string) => keys.has(key),
  };
  for (const [key, value] of await lastValues(database, lineage, range)) values.set(key, value);
  return values;
}

function isIn({ prefix, after }: KeyFilter, key: string): boolean {
  return key.startsWith(prefix) && (after === null || key > after);
}

/** True when neither this key nor any after it is wanted. */
function isBehind({ prefix }: KeyFilter, key: string | undefined): boolean {
  return key !== undefined && key.slice(0, prefix.length) > prefix;
}

function isBefore(entry: readonly [string, unknown] | undefined, key: string): boolean {
  return entry !== undefined && entry[0] < key;
}

/** Leaves out what was removed. */
function add(
  page: StateEntry[],
  entry: readonly [key: string, value: Uint8Array | null] | undefined,
): void {
  if (entry === undefined || entry[1] === null) return;
  page.push([entry[0], entry[1]]);
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}

function isSame(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}
