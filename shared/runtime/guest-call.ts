import { createCipheriv } from 'node:crypto';
import { decodeId } from '#shared/crypto/base58.ts';
import { verifyEd25519 } from '#shared/crypto/ed25519.ts';
import type { ApplicationEvent, StateChange } from '#shared/domain/transaction.ts';
import { limits } from './limits.ts';
import type { ExecutionInput } from './runtime.ts';

/** The guest did something that ends it with a FunctionCallError of this text. */
export class GuestFault extends Error {
  override readonly name = 'GuestFault';
}

/** Bytes that a guest asks for: a place in its memory. */
export interface Range {
  readonly at: number;
  readonly length: number;
}

const INVALID_ACCESS = 'invalid memory access';
const REGISTER_OVERHEAD_BYTES = 8;
const READ_ONLY = 'host panicked: not implemented: Can not write to read-only store.';
const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * One execution as the guest sees it: registers, an overlay of its writes, what it emitted and
 * returned. The operations have the meaning of the host functions of the same names; how their
 * arguments are read from memory is the ABI's business.
 */
export class GuestCall {
  memory: WebAssembly.Memory | null = null;
  readonly logs: string[] = [];
  readonly events: ApplicationEvent[] = [];
  returned: { readonly isError: boolean; readonly bytes: Uint8Array } | null = null;
  committed: { readonly rootHash: Uint8Array; readonly artifact: Uint8Array } | null = null;
  readonly #input: ExecutionInput;
  readonly #registers = new Map<bigint, Uint8Array>();
  readonly #overlay = new Map<string, Uint8Array | null>();
  #registersBytes = 0;
  #writtenBytes = 0;
  #random: ReturnType<typeof createCipheriv> | null = null;

  constructor(input: ExecutionInput) {
    this.#input = input;
  }

  /** The bytes themselves, not a copy: valid until the guest runs again. */
  view({ at, length }: Range): Buffer {
    const buffer = this.memory?.buffer;
    if (buffer === undefined || at + length > buffer.byteLength) {
      throw new GuestFault(INVALID_ACCESS);
    }
    return Buffer.from(buffer, at, length);
  }

  copy(range: Range): Uint8Array {
    return new Uint8Array(this.view(range));
  }

  text(range: Range): string {
    try {
      return utf8.decode(this.view(range));
    } catch (error) {
      if (error instanceof GuestFault) throw error;
      throw new GuestFault('invalid UTF-8 string');
    }
  }

  registerLen(register: bigint): bigint {
    const bytes = this.#registers.get(register);
    return bytes === undefined ? 0xffff_ffff_ffff_ffffn : BigInt(bytes.length);
  }

  readRegister(register: bigint, target: Range): number {
    const bytes = this.#registers.get(register);
    if (bytes === undefined) throw new GuestFault(`invalid register id: ${register}`);
    if (bytes.length !== target.length) return 0;
    this.view(target).set(bytes);
    return 1;
  }

  setRegister(register: bigint, bytes: Uint8Array): void {
    const old = this.#registers.get(register);
    const grown = bytes.length - (old === undefined ? -REGISTER_OVERHEAD_BYTES : old.length);
    const isTooMuch =
      bytes.length > limits.registerBytesMax ||
      this.#registersBytes + grown > limits.registersBytesMax ||
      (old === undefined && this.#registers.size >= limits.registersMax);
    if (isTooMuch) throw new GuestFault(INVALID_ACCESS);
    this.#registersBytes += grown;
    this.#registers.set(register, bytes);
  }

  input(register: bigint): void {
    this.setRegister(register, this.#input.request.payload);
  }

  contextId(register: bigint): void {
    this.setRegister(register, decodeId(this.#input.contextId));
  }

  executorId(register: bigint): void {
    this.setRegister(register, decodeId(this.#input.request.executorPublicKey));
  }

  valueReturn(tag: bigint, range: Range): void {
    if (tag !== 0n && tag !== 1n) throw new GuestFault(INVALID_ACCESS);
    const bytesMax = tag === 1n ? limits.errorBytesMax : limits.outputBytesMax;
    if (range.length > bytesMax) throw new GuestFault('value length overflow');
    this.returned = { isError: tag === 1n, bytes: this.copy(range) };
  }

  log(range: Range): void {
    const isTooMuch = this.logs.length >= limits.logsMax || range.length > limits.logBytesMax;
    if (isTooMuch) throw new GuestFault('logs overflow');
    this.logs.push(this.text(range));
  }

  emit(kind: Range, data: Range): void {
    if (kind.length > limits.eventKindBytesMax) throw new GuestFault('event kind size overflow');
    if (data.length > limits.eventDataBytesMax) throw new GuestFault('event data size overflow');
    if (this.events.length >= limits.eventsMax) throw new GuestFault('events overflow');
    this.events.push({ kind: this.text(kind), data: this.copy(data) });
  }

  commit(root: Range, artifact: Range): void {
    const isAllowed =
      this.committed === null && root.length === 32 && artifact.length <= limits.artifactBytesMax;
    if (!isAllowed) throw new GuestFault(INVALID_ACCESS);
    this.committed = { rootHash: this.copy(root), artifact: this.copy(artifact) };
  }

  storageRead(key: Range, register: bigint): number {
    if (key.length > limits.keyBytesMax) return 0;
    return this.#toRegister(this.#get(this.#keyOf(key)), register);
  }

  storageWrite(key: Range, value: Range, register: bigint): number {
    this.#refuseReadOnly();
    if (key.length > limits.keyBytesMax) throw new GuestFault('key length overflow');
    if (value.length > limits.valueBytesMax) throw new GuestFault('value length overflow');
    this.#writtenBytes += key.length + value.length;
    if (this.#writtenBytes > limits.writtenBytesMax) throw new GuestFault('writes overflow');
    const name = this.#keyOf(key);
    const bytes = this.copy(value);
    const replaced = this.#toRegister(this.#get(name), register);
    this.#overlay.set(name, bytes);
    return replaced;
  }

  storageRemove(key: Range, register: bigint): number {
    this.#refuseReadOnly();
    if (key.length > limits.keyBytesMax) return 0;
    const name = this.#keyOf(key);
    const replaced = this.#toRegister(this.#get(name), register);
    if (replaced === 1) this.#overlay.set(name, null);
    return replaced;
  }

  /** Deterministic: the key stream of AES-256-CTR under the transaction's seed. */
  randomBytes(target: Range): void {
    this.#random ??= createCipheriv(
      'aes-256-ctr',
      this.#input.request.randomSeed,
      Buffer.alloc(16),
    );
    this.view(target).set(this.#random.update(Buffer.alloc(target.length)));
  }

  timeNow(target: Range): void {
    if (target.length !== 8) throw new GuestFault(INVALID_ACCESS);
    this.view(target).writeBigUInt64LE(this.#input.request.timeNs);
  }

  /** A guest has no network. */
  fetch(register: bigint): number {
    this.setRegister(register, Buffer.from('fetch is not available to applications'));
    return 1;
  }

  ed25519Verify(signature: Range, publicKey: Range, message: Range): number {
    if (signature.length !== 64 || publicKey.length !== 32) throw new GuestFault(INVALID_ACCESS);
    const key = this.view(publicKey);
    return verifyEd25519(key, this.view(message), this.copy(signature)) ? 1 : 0;
  }

  panic(message: string, file: Range, place: { readonly line: number; readonly column: number }) {
    const { line, column } = place;
    return new GuestFault(`guest panicked: ${message} at ${this.text(file)}:${line}:${column}`);
  }

  /** What the guest really changed, ordered by key: a write of the old value is none. */
  changes(): StateChange[] {
    const changes: StateChange[] = [];
    for (const name of [...this.#overlay.keys()].sort()) {
      const value = this.#overlay.get(name) ?? null;
      const old = this.#input.state.get(name) ?? null;
      const isSame =
        value === null || old === null ? value === old : Buffer.compare(value, old) === 0;
      if (!isSame) changes.push({ key: Buffer.from(name, 'latin1'), value });
    }
    return changes;
  }

  #get(name: string): Uint8Array | null {
    const written = this.#overlay.get(name);
    return written === undefined ? (this.#input.state.get(name) ?? null) : written;
  }

  #toRegister(bytes: Uint8Array | null, register: bigint): number {
    if (bytes === null) return 0;
    this.setRegister(register, bytes);
    return 1;
  }

  /** Keys are padded with zeros to 32 bytes, so `a` and `a\0` are the same key. */
  #keyOf(range: Range): string {
    return this.view(range).toString('latin1').padEnd(limits.keyBytesMax, '\0');
  }

  #refuseReadOnly(): void {
    if (this.#input.readOnly) throw new GuestFault(READ_ONLY);
  }
}
