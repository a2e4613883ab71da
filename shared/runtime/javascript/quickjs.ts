import { assert } from '#shared/util/assert.ts';
import { GuestFault } from '../effects.ts';

/** The address of a value of the machine. */
export type Handle = number;

/** What a machine asks of its surroundings. */
export interface Surroundings {
  /** Unix time; the machine's time zone is UTC. */
  readonly timeNs: () => bigint;
  /** Runs a host function, and returns a handle that the machine frees. */
  readonly call: (name: string, args: readonly Handle[]) => Handle;
}

/** The exports of quickjs-wasi that are used. Handles are `JSValue *`; see its `interface.c`. */
interface QuickJsExports {
  readonly memory: WebAssembly.Memory;
  _initialize(): void;
  qjs_init2(intrinsics: number): number;
  qjs_set_memory_limit(bytes: number): void;
  qjs_set_max_stack_size(bytes: number): void;
  qjs_set_gc_threshold(bytes: number): void;
  qjs_set_promise_rejection_handler(isOn: number): void;
  qjs_get_context_ptr(): number;
  qjs_eval(source: number, length: number, file: number, flags: number): Handle;
  qjs_call(callee: Handle, self: Handle, count: number, args: number): Handle;
  qjs_new_host_function(name: number, length: number, parameters: number): Handle;
  qjs_new_string(at: number, length: number): Handle;
  qjs_new_uint8_array(at: number, length: number): Handle;
  qjs_new_object(): Handle;
  qjs_get_undefined(): Handle;
  qjs_get_null(): Handle;
  qjs_get_true(): Handle;
  qjs_get_false(): Handle;
  qjs_is_exception(value: Handle): number;
  qjs_is_undefined(value: Handle): number;
  qjs_is_string(value: Handle): number;
  qjs_is_promise(value: Handle): number;
  qjs_get_string_len(value: Handle, lengthAt: number): number;
  qjs_free_cstring(at: number): void;
  JS_GetUint8Array(context: number, lengthAt: number, value: bigint): number;
  qjs_get_prop_string(object: Handle, name: number): Handle;
  qjs_set_prop_string(object: Handle, name: number, value: Handle): number;
  qjs_get_exception(): Handle;
  qjs_throw(value: Handle): Handle;
  qjs_get_value_ptr(value: Handle): number;
  qjs_is_job_pending(): number;
  qjs_execute_pending_job(): number;
  qjs_promise_state(promise: Handle): number;
  qjs_promise_result(promise: Handle): Handle;
  wasm_malloc(bytes: number): number;
  wasm_free(at: number): void;
}

/** A value that the guest threw. */
export class Thrown extends Error {
  override readonly name = 'Thrown';
  readonly value: Handle;

  constructor(value: Handle) {
    super('the guest threw a value');
    this.value = value;
  }
}

export const EVAL = { script: 1 << 7, strict: 1 << 3, module: 1 << 0 } as const;
const PROMISE = { pending: 0, fulfilled: 1 } as const;
// How memory is laid out is seen in fuel, so these numbers belong to the execution version.
/** All but `WeakRef` with `FinalizationRegistry` (bit 9) and `performance` (bit 10). */
const INTRINSICS = 0x1fff & ~(1 << 9) & ~(1 << 10);
/**
 * Below the 64 MiB of the whole memory, so that what does not fit is always refused as a catchable
 * error inside of QuickJS, and copies that the host makes for the guest still have their place.
 */
const HEAP_BYTES_MAX = 48 * 1_048_576;
/**
 * About seven hundred calls deep. A script that recurses gets a RangeError, which it can catch, well
 * before the depth that metering allows; native recursion (of parsers, of `flat`) ends there.
 */
const STACK_BYTES_MAX = 160 * 1_024;
/** Small executions never collect: what is not in a cycle is freed at once anyway. */
const GC_THRESHOLD_BYTES = 8 * 1_048_576;
/** Room that is there from the start: an instance whose memory grew cannot be used again. */
const HEADROOM_BYTES = 524_288;
const SCRATCH_BYTES = 16_384;
const LENGTH_BYTES = 4;
const HOST_ARGUMENTS_MAX = 2;
const OUT_OF_MEMORY = 'memory out of bounds';
const WASI = { success: 0, badFile: 8 } as const;

/**
 * QuickJS as the host holds it. Written on the exports of quickjs-wasi rather than on its own
 * wrapper, which instantiates asynchronously, keeps tables that outlive a reset of the memory, and
 * makes an object per value: here a handle is a number, and all state is in the memory.
 */
export class QuickJs {
  readonly imports: WebAssembly.Imports;
  readonly #surroundings: Surroundings;
  /** Promises that were rejected with nobody listening, and why. */
  readonly #unhandled = new Map<number, readonly [promise: Handle, reason: Handle]>();
  #exports: QuickJsExports | null = null;
  #scratchAt = 0;
  #scratchUsed = 0;
  #lengthAt = 0;
  #context = 0;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
    this.imports = {
      env: {
        host_call: (nameAt: number, length: number, ...[, count = 0, argsAt = 0]: number[]) =>
          this.#hostCall(nameAt, length, count, argsAt),
        host_promise_rejection: (promise: Handle, reason: Handle, isHandled: number) =>
          this.#trackRejection(promise, reason, isHandled),
        host_get_timezone_offset: () => 0,
        host_interrupt: () => 0,
        host_module_normalize: () => 0,
        host_module_load: () => 0,
      },
      wasi_snapshot_preview1: {
        clock_time_get: (_clock: number, _precision: bigint, at: number) => {
          this.#view(at, 8).writeBigUInt64LE(this.#surroundings.timeNs());
          return WASI.success;
        },
        random_get: (at: number, length: number) => {
          this.#view(at, length).fill(0);
          return WASI.success;
        },
        fd_close: () => WASI.badFile,
        fd_fdstat_get: () => WASI.badFile,
        fd_seek: () => WASI.badFile,
        fd_write: () => WASI.badFile,
      },
    };
  }

  /** Works on this instance from now on. */
  attach(exports: WebAssembly.Exports): void {
    this.#exports = exports as unknown as QuickJsExports;
    this.#unhandled.clear();
    this.#scratchUsed = 0;
  }

  /** Brings a new instance to life; once, before anything else. */
  start(): void {
    const wasm = this.#wasm;
    wasm._initialize();
    wasm.wasm_free(wasm.wasm_malloc(HEADROOM_BYTES));
    assert(wasm.qjs_init2(INTRINSICS) === 0, 'QuickJS starts in an empty memory');
    wasm.qjs_set_memory_limit(HEAP_BYTES_MAX);
    wasm.qjs_set_max_stack_size(STACK_BYTES_MAX);
    wasm.qjs_set_gc_threshold(GC_THRESHOLD_BYTES);
    wasm.qjs_set_promise_rejection_handler(1);
    this.#context = wasm.qjs_get_context_ptr();
    this.#scratchAt = wasm.wasm_malloc(SCRATCH_BYTES);
    this.#lengthAt = wasm.wasm_malloc(LENGTH_BYTES);
  }

  /** Throws Thrown, with a SyntaxError where the source cannot be parsed. */
  evaluate(source: Uint8Array, file: string, flags: number): Handle {
    return this.#write(Buffer.from(file), (fileAt) =>
      this.#write(source, (at) =>
        this.#checked(this.#wasm.qjs_eval(at, source.length, fileAt, flags)),
      ),
    );
  }

  /** Calls a function with `this` undefined. Throws Thrown. */
  call(callee: Handle, ...args: readonly Handle[]): Handle {
    const wasm = this.#wasm;
    const argsAt = wasm.wasm_malloc(4 * args.length);
    const slots = this.#view(argsAt, 4 * args.length);
    for (const [i, arg] of args.entries()) slots.writeUInt32LE(arg, 4 * i);
    return this.#checked(wasm.qjs_call(callee, wasm.qjs_get_undefined(), args.length, argsAt));
  }

  /**
   * Runs all jobs, then gives the value, or what the promise that it is was fulfilled with. Throws
   * Thrown for a rejection, also for one that nobody handles, and GuestFault for a promise that
   * nothing will settle.
   */
  settle(value: Handle): Handle {
    const wasm = this.#wasm;
    while (wasm.qjs_is_job_pending() !== 0) {
      if (wasm.qjs_execute_pending_job() < 0) throw new Thrown(wasm.qjs_get_exception());
    }
    const isPromise = wasm.qjs_is_promise(value) !== 0;
    if (isPromise && wasm.qjs_promise_state(value) === PROMISE.pending) {
      throw new GuestFault('guest panicked: the returned promise is never settled');
    }
    const isRejected = isPromise && wasm.qjs_promise_state(value) !== PROMISE.fulfilled;
    if (isRejected) throw new Thrown(wasm.qjs_promise_result(value));
    for (const [, reason] of this.#unhandled.values()) throw new Thrown(reason);
    return isPromise ? wasm.qjs_promise_result(value) : value;
  }

  /**
   * Lends the bytes of values: those of a Uint8Array to read and write, those of a string as UTF-8.
   * `use` must not run the machine. Throws Thrown for values of other types.
   */
  lend<T>(values: readonly Handle[], use: (...bytes: readonly Buffer[]) => T): T {
    const places = values.map((value) => this.#place(value));
    const result = use(...places.map(({ at, length }) => this.#view(at, length)));
    for (const { at, isString } of places) if (isString) this.#wasm.qjs_free_cstring(at);
    return result;
  }

  /** A copy of the bytes of a string or Uint8Array. Throws Thrown as `lend` does. */
  bytes(value: Handle): Buffer {
    return this.lend([value], (bytes) => Buffer.from(bytes ?? []));
  }

  /** A string; bytes that are not UTF-8 become U+FFFD. Throws Thrown as `lend` does. */
  text(value: Handle): string {
    return this.lend([value], (bytes) => String(bytes));
  }

  isString(value: Handle): boolean {
    return this.#wasm.qjs_is_string(value) !== 0;
  }

  isUndefined(value: Handle): boolean {
    return this.#wasm.qjs_is_undefined(value) !== 0;
  }

  property(object: Handle, name: string): Handle {
    return this.#write(Buffer.from(name), (at) =>
      this.#checked(this.#wasm.qjs_get_prop_string(object, at)),
    );
  }

  newString(utf8: Uint8Array): Handle {
    return this.#write(utf8, (at) => this.#checked(this.#wasm.qjs_new_string(at, utf8.length)));
  }

  newBytes(bytes: Uint8Array): Handle {
    return this.#write(bytes, (at) =>
      this.#checked(this.#wasm.qjs_new_uint8_array(at, bytes.length)),
    );
  }

  newBoolean(value: boolean): Handle {
    return value ? this.#wasm.qjs_get_true() : this.#wasm.qjs_get_false();
  }

  newNull(): Handle {
    return this.#wasm.qjs_get_null();
  }

  newUndefined(): Handle {
    return this.#wasm.qjs_get_undefined();
  }

  /** An object with a function for each name, that calls the host by it. */
  newHostFunctions(names: readonly string[]): Handle {
    const wasm = this.#wasm;
    const object = wasm.qjs_new_object();
    for (const name of names) {
      this.#write(Buffer.from(name), (at) =>
        wasm.qjs_set_prop_string(object, at, wasm.qjs_new_host_function(at, name.length, 0)),
      );
    }
    return object;
  }

  get #wasm(): QuickJsExports {
    assert(this.#exports !== null, 'QuickJS is attached to an instance');
    return this.#exports;
  }

  #place(value: Handle): { readonly at: number; readonly length: number; isString: boolean } {
    const wasm = this.#wasm;
    const isString = this.isString(value);
    const at = isString
      ? wasm.qjs_get_string_len(value, this.#lengthAt)
      : wasm.JS_GetUint8Array(this.#context, this.#lengthAt, this.#view(value, 8).readBigInt64LE());
    if (at === 0) throw new Thrown(wasm.qjs_get_exception());
    return { at, length: this.#view(this.#lengthAt, LENGTH_BYTES).readUInt32LE(), isString };
  }

  /** Bytes of the machine, valid until it runs again. A machine out of memory may point anywhere. */
  #view(at: number, length: number): Buffer {
    const { buffer } = this.#wasm.memory;
    const start = at >>> 0;
    if (start + length > buffer.byteLength) throw new GuestFault(OUT_OF_MEMORY);
    return Buffer.from(buffer, start, length);
  }

  #checked(value: Handle): Handle {
    if (this.#wasm.qjs_is_exception(value) === 0) return value;
    throw new Thrown(this.#wasm.qjs_get_exception());
  }

  /** Has the bytes, and a zero behind them, in the machine's memory while `use` runs. */
  #write<T>(bytes: Uint8Array, use: (at: number) => T): T {
    const scratchUsed = this.#scratchUsed;
    const size = bytes.length + 1;
    const isSmall = scratchUsed + size <= SCRATCH_BYTES;
    const at = isSmall ? this.#scratchAt + scratchUsed : this.#wasm.wasm_malloc(size);
    if (at === 0) throw new GuestFault(OUT_OF_MEMORY);
    if (isSmall) this.#scratchUsed += size;
    const target = this.#view(at, size);
    target.set(bytes);
    target[bytes.length] = 0;
    const result = use(at);
    // After a failure all memory is put back anyway, and without fuel nothing can be freed.
    this.#scratchUsed = scratchUsed;
    if (!isSmall) this.#wasm.wasm_free(at);
    return result;
  }

  #hostCall(nameAt: number, length: number, count: number, argsAt: number): Handle {
    const name = this.#view(nameAt, length).toString('latin1');
    const used = Math.min(count, HOST_ARGUMENTS_MAX);
    const slots = this.#view(argsAt, 4 * used);
    const args = Array.from({ length: used }, (_, i) => slots.readUInt32LE(4 * i));
    try {
      return this.#surroundings.call(name, args);
    } catch (error) {
      // Whatever else was thrown ends the execution, and no script can catch it.
      if (!(error instanceof Thrown)) throw error;
      this.#wasm.qjs_throw(error.value);
      return 0;
    }
  }

  #trackRejection(promise: Handle, reason: Handle, isHandled: number): void {
    const identity = this.#wasm.qjs_get_value_ptr(promise);
    // Held while it is unhandled, so that no other promise takes its address.
    if (isHandled === 0) this.#unhandled.set(identity, [promise, reason]);
    else this.#unhandled.delete(identity);
  }
}
