/**
 * A key-value store. Every call but `entries` and `clear` touches a handful of storage keys, however
 * many entries there are.
 *
 *   count             → how many entries
 *   slot <i>          → entry i: u32 length of the key's JSON, the key's JSON, the value's JSON
 *   key <hash of key> → the slot of that key
 *
 * Removing an entry moves the last one into its slot.
 */
import {
  Bytes,
  StorageKey,
  Writer,
  emit,
  fail,
  parseString,
  readArguments,
  returnJson,
  returnNull,
  storageRead,
  storageReadU64,
  storageRemove,
  storageWrite,
  storageWriteU64,
} from "../../sdk/assembly/index";

const NO_SLOT: u64 = u64.MAX_VALUE;
const KEY_CHARS_MAX: i32 = 1024;
const EVENT_BYTES_MAX: i32 = 16 * 1024;

/** Opens an empty store. */
export function init(): void {
  if (storageRead(countKey()) !== null) return fail("the store is initialised already");
  storageWriteU64(countKey(), 0);
  returnNull();
}

/** `{key, value}` → null */
export function set(): void {
  const args = readArguments();
  const key = args.string("key");
  const value = args.string("value");
  if (args.failed) return;
  if (key.length > KEY_CHARS_MAX) return fail("the key is longer than 1024 characters");

  const entry = Entry.of(new Writer().string(key), new Writer().string(value));
  const indexKey = StorageKey.hashed("key", key);
  const slot = storageReadU64(indexKey, NO_SLOT);
  if (slot == NO_SLOT) {
    const count = readCount();
    storageWriteU64(indexKey, count);
    storageWriteU64(countKey(), count + 1);
    writeEntry(count, entry);
    emitEntry("Inserted", entry);
  } else {
    writeEntry(slot, entry);
    emitEntry("Updated", entry);
  }
  returnNull();
}

/** `{key}` → the value, or null */
export function get(): void {
  const args = readArguments();
  const key = args.string("key");
  if (args.failed) return;
  const slot = storageReadU64(StorageKey.hashed("key", key), NO_SLOT);
  if (slot == NO_SLOT) return returnNull();
  returnJson(new Writer().bytes(readEntry(slot).value));
}

/** `{}` → every entry, as one object */
export function entries(): void {
  const out = new Writer().text("{");
  const count = readCount();
  for (let slot: u64 = 0; slot < count; slot++) {
    const entry = readEntry(slot);
    if (slot > 0) out.text(",");
    out.bytes(entry.key).text(":").bytes(entry.value);
  }
  returnJson(out.text("}"));
}

/** `{}` → how many entries */
export function len(): void {
  returnJson(new Writer().u64(readCount()));
}

/** `{key}` → the removed value, or null */
export function remove(): void {
  const args = readArguments();
  const key = args.string("key");
  if (args.failed) return;
  const indexKey = StorageKey.hashed("key", key);
  const slot = storageReadU64(indexKey, NO_SLOT);
  if (slot == NO_SLOT) return returnNull();

  const removed = readEntry(slot);
  const last = readCount() - 1;
  if (slot != last) {
    const moved = readEntry(last);
    writeEntry(slot, moved);
    storageWriteU64(StorageKey.hashed("key", moved.keyText()), slot);
  }
  storageRemove(slotKey(last));
  storageRemove(indexKey);
  storageWriteU64(countKey(), last);
  emitEntry("Removed", removed);
  returnJson(new Writer().bytes(removed.value));
}

/** `{}` → null */
export function clear(): void {
  const count = readCount();
  for (let slot: u64 = 0; slot < count; slot++) {
    storageRemove(StorageKey.hashed("key", readEntry(slot).keyText()));
    storageRemove(slotKey(slot));
  }
  storageWriteU64(countKey(), 0);
  emit("Cleared", new Writer().text("{}"));
  returnNull();
}

class Entry {
  constructor(readonly key: Bytes, readonly value: Bytes) {}

  static of(key: Writer, value: Writer): Entry {
    return new Entry(new Bytes(key.ptr, key.length), new Bytes(value.ptr, value.length));
  }

  keyText(): string {
    return parseString(this.key);
  }
}

function countKey(): StorageKey {
  return StorageKey.named("count");
}

function slotKey(slot: u64): StorageKey {
  return StorageKey.named("slot", slot);
}

function readCount(): u64 {
  return storageReadU64(countKey(), 0);
}

function readEntry(slot: u64): Entry {
  const stored = storageRead(slotKey(slot));
  if (stored === null) {
    return unreachable();
  }
  const keyLength = load<i32>(stored.ptr);
  return new Entry(
    new Bytes(stored.ptr + 4, keyLength),
    new Bytes(stored.ptr + 4 + keyLength, stored.length - 4 - keyLength),
  );
}

function writeEntry(slot: u64, entry: Entry): void {
  const length = entry.key.length;
  const out = new Writer();
  out.byte(length).byte(length >> 8).byte(length >> 16).byte(length >> 24);
  storageWrite(slotKey(slot), out.bytes(entry.key).bytes(entry.value));
}

/** A value too big for an event is left out of it. */
function emitEntry(kind: string, entry: Entry): void {
  const data = new Writer().text('{"key":').bytes(entry.key);
  if (data.length + entry.value.length + 10 <= EVENT_BYTES_MAX) {
    data.text(',"value":').bytes(entry.value);
  }
  emit(kind, data.text("}"));
}
