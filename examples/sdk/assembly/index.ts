/**
 * A small SDK for Cairn applications in AssemblyScript, over version 1 of the guest ABI.
 *
 * An entry point is an exported function without parameters and results. It reads its arguments
 * with `readArguments`, its state with `storageRead…`, and answers with `returnJson` or `fail`.
 * Every call runs in a fresh instance, so nothing outlives it but what was written to storage,
 * and memory is never freed (runtime.ts).
 */

// ---------------------------------------------------------------- the host

@external("env", "input") declare function hostInput(register: u64): void;
@external("env", "register_len") declare function hostRegisterLen(register: u64): u64;
@external("env", "read_register") declare function hostReadRegister(register: u64, ptr: u64, len: u64): i32;
@external("env", "value_return") declare function hostValueReturn(tag: u64, ptr: u64, len: u64): void;
@external("env", "storage_read") declare function hostStorageRead(keyPtr: u64, keyLen: u64, register: u64): i32;
@external("env", "storage_write") declare function hostStorageWrite(keyPtr: u64, keyLen: u64, valuePtr: u64, valueLen: u64, register: u64): i32;
@external("env", "storage_remove") declare function hostStorageRemove(keyPtr: u64, keyLen: u64, register: u64): i32;
@external("env", "emit") declare function hostEmit(kindPtr: u64, kindLen: u64, dataPtr: u64, dataLen: u64): void;
@external("env", "log_utf8") declare function hostLog(ptr: u64, len: u64): void;
@external("env", "executor_id") declare function hostExecutorId(register: u64): void;
@external("env", "context_id") declare function hostContextId(register: u64): void;
@external("env", "time_now") declare function hostTimeNow(ptr: u64, len: u64): void;
@external("env", "panic_utf8") declare function hostPanic(messagePtr: u64, messageLen: u64, filePtr: u64, fileLen: u64, line: i32, column: i32): void;
@external("env", "commit") declare function hostCommit(rootPtr: u64, rootLen: u64, artifactPtr: u64, artifactLen: u64): void;

const REGISTER: u64 = 0;
const ABSENT: u64 = u64.MAX_VALUE;
const TAG_OK: u64 = 0;
const TAG_ERROR: u64 = 1;

/** Bytes in the memory of this instance. */
export class Bytes {
  constructor(readonly ptr: usize, readonly length: i32) {}
}

function takeRegister(): Bytes {
  const length = hostRegisterLen(REGISTER);
  if (length == ABSENT || length == 0) return new Bytes(0, 0);
  const ptr = heap.alloc(<usize>length);
  hostReadRegister(REGISTER, ptr, length);
  return new Bytes(ptr, <i32>length);
}

/** The raw input of this call: JSON text. */
export function input(): Bytes {
  hostInput(REGISTER);
  return takeRegister();
}

/** The 32-byte public key of whoever makes this call. */
export function executorId(): Bytes {
  hostExecutorId(REGISTER);
  return takeRegister();
}

/** The 32-byte id of the context this call runs in. */
export function contextId(): Bytes {
  hostContextId(REGISTER);
  return takeRegister();
}

/** Time of this transaction in nanoseconds since 1970; the same whenever it is replayed. */
export function timeNow(): u64 {
  const ptr = heap.alloc(8);
  hostTimeNow(ptr, 8);
  return load<u64>(ptr);
}

/** Writes a line to the operator's log. At most 100 lines per call. */
export function log(message: string): void {
  const text = new Writer().text(message);
  hostLog(text.ptr, text.length);
}

/** Emits an event: `kind` of at most 100 bytes, `data` of at most 16 KiB. At most 100 per call. */
export function emit(kind: string, data: Writer): void {
  const name = new Writer().text(kind);
  hostEmit(name.ptr, name.length, data.ptr, data.length);
}

/** Sets the root hash (32 bytes) and the artifact of this transaction. At most once per call. */
export function commit(root: Bytes, artifact: Bytes): void {
  hostCommit(root.ptr, root.length, artifact.ptr, artifact.length);
}

/** Answers the call with JSON text. */
export function returnJson(json: Writer): void {
  hostValueReturn(TAG_OK, json.ptr, json.length);
}

export function returnNull(): void {
  returnJson(new Writer().text("null"));
}

/**
 * Answers the call with an error, given as JSON. The call still has to return from its entry point;
 * whatever it wrote is dropped.
 */
export function failJson(json: Writer): void {
  hostValueReturn(TAG_ERROR, json.ptr, json.length);
}

/** Answers the call with an error message, as a JSON string. */
export function fail(message: string): void {
  failJson(new Writer().string(message));
}

/** What the compiler calls where a program cannot go on; see `--use abort` in examples/build.ts. */
export function onAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  const messageText = new Writer().text(message === null ? "abort" : message);
  const fileText = new Writer().text(file === null ? "" : file);
  hostPanic(messageText.ptr, messageText.length, fileText.ptr, fileText.length, line, column);
  unreachable();
}

// ---------------------------------------------------------------- storage

const KEY_BYTES: usize = 32;
const KEY_NAME_BYTES: i32 = 16;

/**
 * A storage key is 32 bytes. A family of keys has a name of at most 16 bytes; its members are told
 * apart by up to two numbers, or by a text of any length, of which the SHA-256 is taken.
 */
export class StorageKey {
  readonly ptr: usize = heap.alloc(KEY_BYTES);

  static named(name: string, first: u64 = 0, second: u64 = 0): StorageKey {
    const key = new StorageKey();
    memory.fill(key.ptr, 0, KEY_BYTES);
    for (let i = 0; i < name.length && i < KEY_NAME_BYTES; i++) {
      store<u8>(key.ptr + i, <u8>name.charCodeAt(i));
    }
    store<u64>(key.ptr + 16, first);
    store<u64>(key.ptr + 24, second);
    return key;
  }

  static hashed(name: string, text: string): StorageKey {
    const key = StorageKey.named(name);
    const message = new Writer();
    message.copy(key.ptr, KEY_NAME_BYTES);
    message.text(text);
    sha256(message.ptr, message.length, key.ptr);
    return key;
  }
}

/** The value under `key`, or null. */
export function storageRead(key: StorageKey): Bytes | null {
  if (hostStorageRead(key.ptr, KEY_BYTES, REGISTER) == 0) return null;
  return takeRegister();
}

export function storageWrite(key: StorageKey, value: Writer): void {
  hostStorageWrite(key.ptr, KEY_BYTES, value.ptr, value.length, REGISTER);
}

/** True when there was a value. */
export function storageRemove(key: StorageKey): bool {
  return hostStorageRemove(key.ptr, KEY_BYTES, REGISTER) != 0;
}

/** The number under `key`, or `fallback`. */
export function storageReadU64(key: StorageKey, fallback: u64): u64 {
  const value = storageRead(key);
  return value !== null && value.length == 8 ? load<u64>(value.ptr) : fallback;
}

export function storageWriteU64(key: StorageKey, value: u64): void {
  storageWrite(key, new Writer().rawU64(value));
}

// ---------------------------------------------------------------- writing

/** A growing run of UTF-8 bytes. */
export class Writer {
  ptr: usize = 0;
  length: i32 = 0;
  private capacity: i32 = 0;

  /** Appends text as it is. */
  text(text: string): Writer {
    for (let i = 0; i < text.length; ) i += this.codePoint(codePointAt(text, i));
    return this;
  }

  /** Appends text as a JSON string, quoted and escaped. */
  string(text: string): Writer {
    this.byte(0x22);
    for (let i = 0; i < text.length; ) {
      const point = codePointAt(text, i);
      if (point >= 0x20 && point != 0x22 && point != 0x5c) {
        i += this.codePoint(point);
        continue;
      }
      this.escape(point);
      i += 1;
    }
    return this.byte(0x22);
  }

  /** Appends a number in decimal. */
  u64(value: u64): Writer {
    if (value >= 10) this.u64(value / 10);
    return this.byte(0x30 + <i32>(value % 10));
  }

  i64(value: i64): Writer {
    if (value >= 0) return this.u64(value);
    this.byte(0x2d);
    return this.u64(0 - <u64>value);
  }

  /** Appends 8 bytes, little-endian. */
  rawU64(value: u64): Writer {
    this.reserve(8);
    store<u64>(this.ptr + this.length, value);
    this.length += 8;
    return this;
  }

  copy(ptr: usize, length: i32): Writer {
    this.reserve(length);
    memory.copy(this.ptr + this.length, ptr, length);
    this.length += length;
    return this;
  }

  bytes(bytes: Bytes): Writer {
    return this.copy(bytes.ptr, bytes.length);
  }

  byte(value: i32): Writer {
    this.reserve(1);
    store<u8>(this.ptr + this.length, <u8>value);
    this.length += 1;
    return this;
  }

  /** Appends UTF-8 and returns how many UTF-16 units the code point has. */
  codePoint(point: i32): i32 {
    if (point < 0x80) {
      this.byte(point);
    } else if (point < 0x800) {
      this.byte(0xc0 | (point >> 6));
      this.byte(0x80 | (point & 63));
    } else {
      if (point < 0x10000) {
        this.byte(0xe0 | (point >> 12));
      } else {
        this.byte(0xf0 | (point >> 18));
        this.byte(0x80 | ((point >> 12) & 63));
      }
      this.byte(0x80 | ((point >> 6) & 63));
      this.byte(0x80 | (point & 63));
    }
    return point < 0x10000 ? 1 : 2;
  }

  private escape(point: i32): void {
    this.byte(0x5c);
    if (point == 0x22 || point == 0x5c) this.byte(point);
    else if (point == 0x0a) this.byte(0x6e);
    else if (point == 0x0d) this.byte(0x72);
    else if (point == 0x09) this.byte(0x74);
    else if (point == 0x08) this.byte(0x62);
    else if (point == 0x0c) this.byte(0x66);
    else {
      this.text("u00");
      this.byte(0x30 + (point >> 4));
      const low = point & 15;
      this.byte(low < 10 ? 0x30 + low : 0x57 + low);
    }
  }

  private reserve(more: i32): void {
    const needed = this.length + more;
    if (needed <= this.capacity) return;
    this.capacity = max(max(this.capacity * 2, needed), 64);
    const grown = heap.alloc(this.capacity);
    memory.copy(grown, this.ptr, this.length);
    this.ptr = grown;
  }
}

const REPLACEMENT: i32 = 0xfffd;

/** The code point at `index`; a surrogate without its partner reads as U+FFFD. */
function codePointAt(text: string, index: i32): i32 {
  const high = text.charCodeAt(index);
  if (high < 0xd800 || high > 0xdfff) return high;
  if (high > 0xdbff || index + 1 >= text.length) return REPLACEMENT;
  const low = text.charCodeAt(index + 1);
  if (low < 0xdc00 || low > 0xdfff) return REPLACEMENT;
  return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

// ---------------------------------------------------------------- reading

export function readArguments(): Arguments {
  const bytes = input();
  return new Arguments(bytes.ptr, bytes.ptr + bytes.length);
}

/** The text of a JSON string. */
export function parseString(json: Bytes): string {
  return new Arguments(json.ptr, json.ptr + json.length).readString();
}

/**
 * The arguments of a call: one JSON object. A getter that finds its argument missing or of another
 * type answers the call with an error and sets `failed`; the entry point then returns at once.
 */
export class Arguments {
  failed: bool = false;
  private malformed: bool = false;
  private at: usize;

  constructor(private readonly start: usize, private readonly end: usize) {
    this.at = start;
  }

  /** True when the argument is there and not null. */
  has(name: string): bool {
    return this.find(name) && this.peek() != 0x6e;
  }

  string(name: string): string {
    if (this.require(name)) {
      if (this.peek() == 0x22) return this.readString();
      this.refuse(name, "a string");
    }
    return "";
  }

  u64(name: string): u64 {
    if (!this.require(name)) return 0;
    const value = this.digits();
    if (this.malformed) this.refuse(name, "an unsigned 64-bit integer");
    return value;
  }

  i64(name: string): i64 {
    if (!this.require(name)) return 0;
    const isNegative = this.peek() == 0x2d;
    if (isNegative) this.at += 1;
    const value = this.digits();
    const limit: u64 = isNegative ? 0x8000000000000000 : 0x7fffffffffffffff;
    if (this.malformed || value > limit) this.refuse(name, "a 64-bit integer");
    return isNegative ? 0 - <i64>value : <i64>value;
  }

  bool(name: string): bool {
    if (!this.require(name)) return false;
    const first = this.peek();
    if (first != 0x74 && first != 0x66) this.refuse(name, "true or false");
    return first == 0x74;
  }

  /** The JSON text of an argument of any type. */
  json(name: string): Bytes {
    if (!this.require(name)) return new Bytes(0, 0);
    const from = this.at;
    this.skipValue();
    return new Bytes(from, <i32>(this.at - from));
  }

  private require(name: string): bool {
    if (this.failed) return false;
    if (this.find(name)) return true;
    this.failed = true;
    fail("missing field `" + name + "`");
    return false;
  }

  private refuse(name: string, wanted: string): void {
    this.failed = true;
    fail("field `" + name + "` must be " + wanted);
  }

  /** Moves to the value of `name`. */
  private find(name: string): bool {
    this.at = this.start;
    this.skipSpace();
    if (this.peek() != 0x7b) return false;
    this.at += 1;
    while (true) {
      this.skipSpace();
      if (this.peek() != 0x22) return false;
      const found = this.readString() == name;
      this.skipSpace();
      if (this.peek() != 0x3a) return false;
      this.at += 1;
      this.skipSpace();
      if (found) return true;
      this.skipValue();
      this.skipSpace();
      if (this.peek() != 0x2c) return false;
      this.at += 1;
    }
  }

  /** The byte here, or -1 at the end. */
  private peek(): i32 {
    return this.at < this.end ? <i32>load<u8>(this.at) : -1;
  }

  private skipSpace(): void {
    while (true) {
      const byte = this.peek();
      if (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09) return;
      this.at += 1;
    }
  }

  /** Moves behind the value here, however deep it nests. */
  private skipValue(): void {
    let depth = 0;
    while (true) {
      const byte = this.peek();
      if (byte < 0) return;
      if (byte == 0x22) {
        this.skipString();
        if (depth == 0) return;
        continue;
      }
      const isClosing = byte == 0x7d || byte == 0x5d;
      if (depth == 0 && (isClosing || byte == 0x2c || byte <= 0x20)) return;
      this.at += 1;
      if (byte == 0x7b || byte == 0x5b) depth += 1;
      else if (isClosing && --depth == 0) return;
    }
  }

  private skipString(): void {
    this.at += 1;
    while (true) {
      const byte = this.peek();
      if (byte < 0) return;
      this.at += byte == 0x5c ? 2 : 1;
      if (byte == 0x22) return;
    }
  }

  /** Reads the JSON string here and moves behind it. */
  readString(): string {
    const out = new Writer();
    this.at += 1;
    while (true) {
      const byte = this.peek();
      if (byte < 0) break;
      this.at += 1;
      if (byte == 0x22) break;
      if (byte == 0x5c) this.readEscape(out);
      else out.byte(byte);
    }
    return String.UTF8.decodeUnsafe(out.ptr, out.length);
  }

  private readEscape(out: Writer): void {
    const byte = this.peek();
    this.at += 1;
    if (byte == 0x6e) out.byte(0x0a);
    else if (byte == 0x72) out.byte(0x0d);
    else if (byte == 0x74) out.byte(0x09);
    else if (byte == 0x62) out.byte(0x08);
    else if (byte == 0x66) out.byte(0x0c);
    else if (byte == 0x75) out.codePoint(this.readUnicodeEscape());
    else out.byte(byte);
  }

  private readUnicodeEscape(): i32 {
    const high = this.readHex();
    if (high < 0xd800 || high > 0xdfff) return high;
    if (high > 0xdbff) return REPLACEMENT;
    const behind = this.at;
    if (this.peek() == 0x5c) {
      this.at += 1;
      if (this.peek() == 0x75) {
        this.at += 1;
        const low = this.readHex();
        if (low >= 0xdc00 && low <= 0xdfff) {
          return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        }
      }
    }
    this.at = behind;
    return REPLACEMENT;
  }

  private readHex(): i32 {
    let value = 0;
    for (let i = 0; i < 4; i++) {
      const byte = this.peek();
      this.at += 1;
      value = (value << 4) | (byte <= 0x39 ? byte - 0x30 : (byte | 0x20) - 0x57);
    }
    return value;
  }

  /** Reads digits up to the end of the value; sets `malformed` where they are no u64. */
  private digits(): u64 {
    let value: u64 = 0;
    const from = this.at;
    this.malformed = false;
    while (true) {
      const byte = this.peek();
      if (byte < 0x30 || byte > 0x39) {
        const isOver = byte == 0x2c || byte == 0x7d || byte <= 0x20;
        if (!isOver || this.at == from) this.malformed = true;
        return value;
      }
      const digit = <u64>(byte - 0x30);
      if (value > (u64.MAX_VALUE - digit) / 10) {
        this.malformed = true;
        return 0;
      }
      value = value * 10 + digit;
      this.at += 1;
    }
  }
}

// ---------------------------------------------------------------- SHA-256

const ROUND_CONSTANTS = memory.data<u32>([
  0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
  0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
  0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
  0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
  0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
  0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
  0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
  0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);
const INITIAL_STATE = memory.data<u32>([
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
]);

/** Writes the 32-byte SHA-256 of a message to `out`. */
export function sha256(ptr: usize, length: i32, out: usize): void {
  const padded = (length + 72) & ~63;
  const message = heap.alloc(padded);
  memory.copy(message, ptr, length);
  memory.fill(message + length, 0, padded - length);
  store<u8>(message + length, 0x80);
  store<u64>(message + padded - 8, bswap<u64>(<u64>length * 8));

  const state = heap.alloc(32);
  memory.copy(state, INITIAL_STATE, 32);
  const schedule = heap.alloc(256);
  for (let offset = 0; offset < padded; offset += 64) sha256Block(message + offset, schedule, state);
  for (let i = 0; i < 32; i += 4) store<u32>(out + i, bswap<u32>(load<u32>(state + i)));
}

function sha256Block(block: usize, w: usize, state: usize): void {
  for (let i = 0; i < 64; i += 4) store<u32>(w + i, bswap<u32>(load<u32>(block + i)));
  for (let i = 64; i < 256; i += 4) {
    const x = load<u32>(w + i - 60);
    const y = load<u32>(w + i - 8);
    const s0 = rotr<u32>(x, 7) ^ rotr<u32>(x, 18) ^ (x >> 3);
    const s1 = rotr<u32>(y, 17) ^ rotr<u32>(y, 19) ^ (y >> 10);
    store<u32>(w + i, load<u32>(w + i - 64) + s0 + load<u32>(w + i - 28) + s1);
  }
  let a = load<u32>(state);
  let b = load<u32>(state, 4);
  let c = load<u32>(state, 8);
  let d = load<u32>(state, 12);
  let e = load<u32>(state, 16);
  let f = load<u32>(state, 20);
  let g = load<u32>(state, 24);
  let h = load<u32>(state, 28);
  for (let i = 0; i < 256; i += 4) {
    const s1 = rotr<u32>(e, 6) ^ rotr<u32>(e, 11) ^ rotr<u32>(e, 25);
    const t1 = h + s1 + ((e & f) ^ (~e & g)) + load<u32>(ROUND_CONSTANTS + i) + load<u32>(w + i);
    const s0 = rotr<u32>(a, 2) ^ rotr<u32>(a, 13) ^ rotr<u32>(a, 22);
    const t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  store<u32>(state, load<u32>(state) + a);
  store<u32>(state, load<u32>(state, 4) + b, 4);
  store<u32>(state, load<u32>(state, 8) + c, 8);
  store<u32>(state, load<u32>(state, 12) + d, 12);
  store<u32>(state, load<u32>(state, 16) + e, 16);
  store<u32>(state, load<u32>(state, 20) + f, 20);
  store<u32>(state, load<u32>(state, 24) + g, 24);
  store<u32>(state, load<u32>(state, 28) + h, 28);
}
