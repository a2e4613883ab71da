import { Effects, GuestFault } from './effects.ts';
import { limits } from './limits.ts';
import type { ExecutionInput } from './runtime.ts';

/** Bytes that a guest asks for: a place in its memory. */
export interface Range {
  readonly at: number;
  readonly length: number;
}

const INVALID_ACCESS = 'invalid memory access';
const REGISTER_OVERHEAD_BYTES = 8;
const utf8 = new TextDecoder('utf-8', { fatal: true });

/**
 * One execution as a WebAssembly guest sees it: its memory, and registers. The operations have the
 * meaning of the host functions of the same names; how their arguments are read from memory is the
 * ABI's business.
 */
export class GuestCall {
  memory: WebAssembly.Memory | null = null;
  readonly effects: Effects;
  readonly #registers = new Map<bigint, Uint8Array>();
  #registersBytes = 0;

  constructor(input: ExecutionInput) {
    this.effects = new Effects(input);
  }

  /** The bytes themselves, not a copy: valid until the guest runs again. */
  view({ at, length }: Range): Buffer {
    const buffer = this.memory?.buffer;
    if (buffer === undefined || at + length > buffer.byteLength) {
      throw new GuestFault(INVALID_ACCESS);
    }
    return Buffer.from(buffer, at, length);
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
    this.effects.charge(0);
    const bytes = this.#registers.get(register);
    return bytes === undefined ? 0xffff_ffff_ffff_ffffn : BigInt(bytes.length);
  }

  readRegister(register: bigint, target: Range): number {
    const bytes = this.#registers.get(register);
    if (bytes === undefined) throw new GuestFault(`invalid register id: ${register}`);
    this.effects.charge(target.length);
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
    this.effects.charge(0);
    this.setRegister(register, this.effects.payload);
  }

  contextId(register: bigint): void {
    this.effects.charge(0);
    this.setRegister(register, this.effects.contextId);
  }

  executorId(register: bigint): void {
    this.effects.charge(0);
    this.setRegister(register, this.effects.executorId);
  }

  valueReturn(tag: bigint, range: Range): void {
    if (tag !== 0n && tag !== 1n) throw new GuestFault(INVALID_ACCESS);
    const bytesMax = tag === 1n ? limits.errorBytesMax : limits.outputBytesMax;
    if (range.length > bytesMax) throw new GuestFault('value length overflow');
    this.effects.returnValue(this.view(range), tag === 1n);
  }

  log(range: Range): void {
    if (range.length > limits.logBytesMax) throw new GuestFault('logs overflow');
    this.effects.log(this.text(range));
  }

  emit(kind: Range, data: Range): void {
    if (kind.length > limits.eventKindBytesMax) throw new GuestFault('event kind size overflow');
    if (data.length > limits.eventDataBytesMax) throw new GuestFault('event data size overflow');
    this.effects.emit(this.text(kind), this.view(data));
  }

  commit(root: Range, artifact: Range): void {
    if (artifact.length > limits.artifactBytesMax) throw new GuestFault(INVALID_ACCESS);
    this.effects.commit(this.view(root), this.view(artifact));
  }

  storageRead(key: Range, register: bigint): number {
    if (key.length > limits.keyBytesMax) return this.#absent();
    return this.#toRegister(this.effects.get(this.view(key)), register);
  }

  storageWrite(key: Range, value: Range, register: bigint): number {
    if (key.length > limits.keyBytesMax) throw new GuestFault('key length overflow');
    if (value.length > limits.valueBytesMax) throw new GuestFault('value length overflow');
    return this.#toRegister(this.effects.set(this.view(key), this.view(value)), register);
  }

  storageRemove(key: Range, register: bigint): number {
    if (key.length > limits.keyBytesMax) return this.#absent();
    return this.#toRegister(this.effects.remove(this.view(key)), register);
  }

  randomBytes(target: Range): void {
    this.view(target).set(this.effects.randomBytes(target.length));
  }

  timeNow(target: Range): void {
    if (target.length !== 8) throw new GuestFault(INVALID_ACCESS);
    this.effects.charge(target.length);
    this.view(target).writeBigUInt64LE(this.effects.timeNs);
  }

  /** A guest has no network. */
  fetch(register: bigint): number {
    this.effects.charge(0);
    this.setRegister(register, Buffer.from('fetch is not available to applications'));
    return 1;
  }

  ed25519Verify(signature: Range, publicKey: Range, message: Range): number {
    const bytes = this.view(message);
    return this.effects.ed25519Verify(this.view(signature), this.view(publicKey), bytes) ? 1 : 0;
  }

  panic(message: string, file: Range, place: { readonly line: number; readonly column: number }) {
    const { line, column } = place;
    return new GuestFault(`guest panicked: ${message} at ${this.text(file)}:${line}:${column}`);
  }

  /** No key is that long, and asking for it is not free. */
  #absent(): number {
    this.effects.charge(0);
    return 0;
  }

  #toRegister(bytes: Uint8Array | null, register: bigint): number {
    if (bytes === null) return 0;
    this.setRegister(register, bytes);
    return 1;
  }
}
