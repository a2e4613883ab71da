import type { ApplicationEvent, Outcome, StateChange } from '#shared/domain/transaction.ts';
import type { DifferingField } from '#shared/protocol/audit-api.ts';

const CHARS_MAX = 240;
const ITEMS_MAX = 8;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/** The fields in which two outcomes differ, both sides in words. */
export function differingFields(logged: Outcome, recomputed: Outcome): DifferingField[] {
  const [loggedChanges, changes] = unlikeChanges(logged.changes, recomputed.changes);
  const sides: readonly (readonly [string, string | null, string | null])[] = [
    ['status', logged.status, recomputed.status],
    ['error', shortText(logged.error), shortText(recomputed.error)],
    ['output', shortBytes(logged.output), shortBytes(recomputed.output)],
    ['events', eventsOf(logged.events), eventsOf(recomputed.events)],
    ['changes', loggedChanges, changes],
    ['rootHash', shortBytes(logged.rootHash), shortBytes(recomputed.rootHash)],
    ['artifact', shortBytes(logged.artifact), shortBytes(recomputed.artifact)],
    ['fuelUsed', `${logged.fuelUsed}`, `${recomputed.fuelUsed}`],
  ];
  const isUnlike = unlikeFields(logged, recomputed);
  return sides
    .filter(([field]) => isUnlike.has(field))
    .map(([field, a, b]) => ({ field, logged: a, recomputed: b }));
}

/** Compares whole values: two long ones may look the same when they are shortened. */
export function unlikeFields(a: Outcome, b: Outcome): ReadonlySet<string> {
  const found: string[] = [];
  if (a.status !== b.status) found.push('status');
  if (a.error !== b.error) found.push('error');
  if (!isSame(a.output, b.output)) found.push('output');
  if (!isSameEvents(a.events, b.events)) found.push('events');
  if (!isSameChanges(a.changes, b.changes)) found.push('changes');
  if (!isSame(a.rootHash, b.rootHash)) found.push('rootHash');
  if (!isSame(a.artifact, b.artifact)) found.push('artifact');
  if (a.fuelUsed !== b.fuelUsed) found.push('fuelUsed');
  return new Set(found);
}

function isSame(a: Uint8Array | null, b: Uint8Array | null): boolean {
  return a === null || b === null ? a === b : Buffer.compare(a, b) === 0;
}

function isSameEvents(a: readonly ApplicationEvent[], b: readonly ApplicationEvent[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ kind, data }, i) => kind === b[i]?.kind && isSame(data, b[i]?.data ?? null))
  );
}

function isSameChanges(a: readonly StateChange[], b: readonly StateChange[]): boolean {
  return (
    a.length === b.length &&
    a.every(({ key, value }, i) => {
      const other = b[i];
      return other !== undefined && isSame(key, other.key) && isSame(value, other.value);
    })
  );
}

/** Text in quotes where the bytes are text, else hex; both cut where they are long. */
function shortBytes(bytes: Uint8Array | null): string | null {
  if (bytes === null) return null;
  const text = textOf(bytes);
  const shown = text === null ? `0x${Buffer.from(bytes).toString('hex')}` : JSON.stringify(text);
  return cut(shown, `${bytes.length} bytes`);
}

function shortText(text: string | null): string | null {
  return text === null ? null : cut(text, `${text.length} characters`);
}

function cut(text: string, whole: string): string {
  return text.length <= CHARS_MAX ? text : `${text.slice(0, CHARS_MAX)}… (${whole})`;
}

function textOf(bytes: Uint8Array): string | null {
  try {
    const text = utf8.decode(bytes);
    return /\p{Cc}/u.test(text) ? null : text;
  } catch {
    return null;
  }
}

function eventsOf(events: readonly ApplicationEvent[]): string {
  const shown = events.map(({ kind, data }) => `${kind} ${shortBytes(data)}`);
  return listed(shown, 'events');
}

/** Only the keys in which the two sides differ. */
function unlikeChanges(a: readonly StateChange[], b: readonly StateChange[]): [string, string] {
  const byKey = (changes: readonly StateChange[]) =>
    new Map(changes.map(({ key, value }) => [Buffer.from(key).toString('hex'), value]));
  const [first, second] = [byKey(a), byKey(b)];
  const isUnlike = (key: string) => {
    const [x, y] = [first.get(key), second.get(key)];
    return x === undefined || y === undefined || !isSame(x, y);
  };
  const keys = new Set([...first.keys(), ...second.keys()]);
  if (![...keys].some(isUnlike)) return ['the same keys in one order', 'in another order'];
  const show = (changes: readonly StateChange[]) =>
    listed(
      changes
        .filter(({ key }) => isUnlike(Buffer.from(key).toString('hex')))
        .map(
          ({ key, value }) =>
            `${keyText(key)} ${value === null ? 'removed' : `= ${shortBytes(value)}`}`,
        ),
      'changes',
    );
  return [show(a), show(b)];
}

/** Keys are padded with zeros. */
function keyText(key: Uint8Array): string {
  let end = key.length;
  while (end > 0 && key[end - 1] === 0) end -= 1;
  return shortBytes(key.subarray(0, end)) ?? '';
}

function listed(items: readonly string[], what: string): string {
  if (items.length === 0) return `no ${what}`;
  const more = items.length > ITEMS_MAX ? `, and ${items.length - ITEMS_MAX} more` : '';
  return `${items.slice(0, ITEMS_MAX).join(', ')}${more}`;
}
