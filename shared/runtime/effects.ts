import { createCipheriv } from 'node:crypto';
import { decodeId } from '#shared/crypto/base58.ts';
import { verifyEd25519 } from '#shared/crypto/ed25519.ts';
import type { ApplicationEvent, StateChange } from '#shared/domain/transaction.ts';
import { HOST_COSTS } from './host-costs.ts';
import { limits } from './limits.ts';
import type { ExecutionInput } from './runtime.ts';

/** The guest did something that ends it with a FunctionCallError of this text. */
export class GuestFault extends Error {
  override readonly name = 'GuestFault';
}

export const OUT_OF_FUEL = 'out of fuel';
const INVALID_ACCESS = 'invalid memory access';
const READ_ONLY = 'host panicked: not implemented: Can not write to read-only store.';

/**
 * What one execution sees of the world and does to it, for guests of every engine: an overlay of
 * its writes, what it emitted, logged and returned. Limits are enforced and every byte that passes
 * is paid for here, so that engines cannot differ in it. Methods throw GuestFault.
 */
export class Effects {
  readonly logs: string[] = [];
  readonly events: ApplicationEvent[] = [];
  returned: { readonly isError: boolean; readonly bytes: Uint8Array } | null = null;
  committed: { readonly rootHash: Uint8Array; readonly artifact: Uint8Array } | null = null;
  readonly #input: ExecutionInput;
  readonly #overlay = new Map<string, Uint8Array | null>();
  readonly #fuelMax: number;
  #hostFuel = 0;
  #hostCalls = 0;
  #writtenBytes = 0;
  #random: ReturnType<typeof createCipheriv> | null = null;

  constructor(input: ExecutionInput) {
    this.#input = input;
    const { fuelLimit } = input.request;
    this.#fuelMax = fuelLimit === 0n ? Number.POSITIVE_INFINITY : Number(fuelLimit);
  }

  get payload(): Uint8Array {
    return this.#input.request.payload;
  }

  /** Unix time of the transaction. */
  get timeNs(): bigint {
    return this.#input.request.timeNs;
  }

  get contextId(): Uint8Array {
    return decodeId(this.#input.contextId);
  }

  get executorId(): Uint8Array {
    return decodeId(this.#input.request.executorPublicKey);
  }

  /** What the host's work cost so far; the guest's own instructions are counted in the guest. */
  get hostFuel(): number {
    return this.#hostFuel;
  }

  /** Pays for one call of the host that moves so many bytes. */
  charge(bytes: number, fuelPerByte: number = HOST_COSTS.readByte): void {
    this.#hostCalls += 1;
    if (this.#hostCalls > limits.hostCallsMax) throw new GuestFault('host calls overflow');
    this.#hostFuel += HOST_COSTS.call + bytes * fuelPerByte;
    if (this.#hostFuel > this.#fuelMax) throw new GuestFault(OUT_OF_FUEL);
  }

  /** The value of a key of at most 32 bytes; keys are padded with zeros, so `a` is also `a\0`. */
  get(key: Uint8Array): Uint8Array | null {
    const value = key.length > limits.keyBytesMax ? null : this.#get(nameOf(key));
    this.charge(key.length + (value?.length ?? 0));
    return value;
  }

  /** Sets a copy of `value`, and returns the value before. */
  set(key: Uint8Array, value: Uint8Array): Uint8Array | null {
    this.#refuseReadOnly();
    if (key.length > limits.keyBytesMax) throw new GuestFault('key length overflow');
    if (value.length > limits.valueBytesMax) throw new GuestFault('value length overflow');
    this.#writtenBytes += key.length + value.length;
    if (this.#writtenBytes > limits.writtenBytesMax) throw new GuestFault('writes overflow');
    this.charge(key.length + value.length, HOST_COSTS.writtenByte);
    const name = nameOf(key);
    const replaced = this.#get(name);
    this.#overlay.set(name, new Uint8Array(value));
    return replaced;
  }

  /** Removes a key, and returns its value before. */
  remove(key: Uint8Array): Uint8Array | null {
    this.#refuseReadOnly();
    this.charge(key.length, HOST_COSTS.writtenByte);
    if (key.length > limits.keyBytesMax) return null;
    const name = nameOf(key);
    const replaced = this.#get(name);
    if (replaced !== null) this.#overlay.set(name, null);
    return replaced;
  }

  emit(kind: string, data: Uint8Array): void {
    const kindBytes = Buffer.byteLength(kind);
    if (kindBytes > limits.eventKindBytesMax) throw new GuestFault('event kind size overflow');
    if (data.length > limits.eventDataBytesMax) throw new GuestFault('event data size overflow');
    if (this.events.length >= limits.eventsMax) throw new GuestFault('events overflow');
    this.charge(kindBytes + data.length, HOST_COSTS.writtenByte);
    this.events.push({ kind, data: new Uint8Array(data) });
  }

  log(text: string): void {
    const bytes = Buffer.byteLength(text);
    const isTooMuch = this.logs.length >= limits.logsMax || bytes > limits.logBytesMax;
    if (isTooMuch) throw new GuestFault('logs overflow');
    this.charge(bytes);
    this.logs.push(text);
  }

  returnValue(bytes: Uint8Array, isError: boolean): void {
    const bytesMax = isError ? limits.errorBytesMax : limits.outputBytesMax;
    if (bytes.length > bytesMax) throw new GuestFault('value length overflow');
    this.charge(bytes.length, HOST_COSTS.writtenByte);
    this.returned = { isError, bytes: new Uint8Array(bytes) };
  }

  commit(rootHash: Uint8Array, artifact: Uint8Array): void {
    const isAllowed =
      this.committed === null &&
      rootHash.length === 32 &&
      artifact.length <= limits.artifactBytesMax;
    if (!isAllowed) throw new GuestFault(INVALID_ACCESS);
    this.charge(artifact.length, HOST_COSTS.writtenByte);
    this.committed = { rootHash: new Uint8Array(rootHash), artifact: new Uint8Array(artifact) };
  }

  /** Deterministic: the key stream of AES-256-CTR under the transaction's seed. */
  randomBytes(length: number): Uint8Array {
    this.charge(length, HOST_COSTS.randomByte);
    this.#random ??= createCipheriv(
      'aes-256-ctr',
      this.#input.request.randomSeed,
      Buffer.alloc(16),
    );
    return this.#random.update(Buffer.alloc(length));
  }

  ed25519Verify(signature: Uint8Array, publicKey: Uint8Array, message: Uint8Array): boolean {
    if (signature.length !== 64 || publicKey.length !== 32) throw new GuestFault(INVALID_ACCESS);
    this.charge(HOST_COSTS.signature + message.length);
    return verifyEd25519(publicKey, message, signature);
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

  #refuseReadOnly(): void {
    if (this.#input.readOnly) throw new GuestFault(READ_ONLY);
  }
}

/** State keys are 32 bytes as latin1 text. */
function nameOf(key: Uint8Array): string {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  return bytes.toString('latin1').padEnd(limits.keyBytesMax, '\0');
}
