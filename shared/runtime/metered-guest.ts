import { AppError } from '#shared/domain/app-error.ts';
import type { Outcome } from '#shared/domain/transaction.ts';
import { type Effects, GuestFault, OUT_OF_FUEL } from './effects.ts';
import { GuestCall } from './guest-call.ts';
import type { CurrentCall } from './host-functions.ts';
import { InstancePool, type Spare } from './instance-pool.ts';
import { limits } from './limits.ts';
import { DEPTH_MAX, type InstrumentedModule } from './metering/instrument.ts';
import type { ExecutionInput, ExecutionResult } from './runtime.ts';
import { trapText } from './trap-text.ts';

export interface MeteredGuestOptions {
  readonly code: InstrumentedModule;
  readonly imports: WebAssembly.Imports;
  /** Where the host functions of `imports` find the execution under way. */
  readonly current: CurrentCall;
  /** Brings a new instance to the state that each call starts from, within `prepareFuelMax`. */
  readonly prepare?: (exports: WebAssembly.Exports) => void;
  /** For guests that differ only in `prepare`, and take turns with one instance. */
  readonly spare?: Spare;
}

/** The longest form of an error of `errorBytesMax`: `255, ` for each byte. */
const ERROR_CHARS_MAX = 64 + 5 * limits.errorBytesMax;

/**
 * A module whose calls cost exact fuel: gives each an instance as good as fresh, bounds it by
 * fuel and depth, and turns what came of it into an outcome that is the same on every machine.
 */
export class MeteredGuest {
  readonly #options: MeteredGuestOptions;
  readonly #instances: InstancePool;

  /** Throws AppError `invalid_request` when `prepare` fails. */
  constructor(options: MeteredGuestOptions) {
    this.#options = options;
    const { code, imports, prepare, spare } = options;
    this.#instances = new InstancePool({
      module: new WebAssembly.Module(code.bytes),
      imports,
      globals: code.globals,
      ...(spare !== undefined && { spare }),
      ...(prepare !== undefined && {
        prepare: (exports) => {
          const meter = new Meter(exports, code);
          meter.start(BigInt(limits.prepareFuelMax));
          try {
            prepare(exports);
          } catch (error) {
            throw meter.isExhausted || meter.isTooDeep ? tooMuchToPrepare() : error;
          }
        },
      }),
    });
    if (prepare !== undefined) this.#instances.warmUp();
  }

  /**
   * Runs `enter` on an instance; what it returns is the error of a call that failed in good order.
   * Throws only for a fault of the host, which may be tried again.
   */
  execute(
    input: ExecutionInput,
    enter: (exports: WebAssembly.Exports, effects: Effects) => string | void,
  ): ExecutionResult {
    const { code, current } = this.#options;
    const { fuelLimit } = input.request;
    const call = new GuestCall(input);
    const { effects } = call;
    let meter: Meter | null = null;
    let fault: string | null = null;
    current.call = call;
    try {
      this.#instances.run((exports) => {
        meter = new Meter(exports, code);
        meter.start(fuelLimit);
        call.memory = exports['memory'] as WebAssembly.Memory;
        fault = enter(exports, effects) ?? null;
        meter.stop();
      });
    } catch (error) {
      fault = faultOf(error, meter);
    } finally {
      current.call = null;
    }
    const fuel = fuelOf(effects, meter, fuelLimit);
    const isExhausted = fuelLimit > 0n && fuel > fuelLimit;
    if (isExhausted) fault = OUT_OF_FUEL;
    const fuelUsed = isExhausted ? fuelLimit : fuel;
    const outcome = fault === null ? outcomeOf(effects, fuelUsed) : failed(fault, fuelUsed);
    return { outcome, logs: effects.logs, hasRun: true };
  }
}

/** A result for a call that never reached the guest: nothing ran. */
export function refused(error: string): ExecutionResult {
  return { outcome: failed(error, 0n), logs: [], hasRun: false };
}

/** The two counters that the instrumenter put into an instance; none without metering. */
class Meter {
  readonly #fuel: WebAssembly.Global | null;
  readonly #depth: WebAssembly.Global | null;
  #limit = 0n;
  #left: bigint | null = null;

  constructor(exports: WebAssembly.Exports, { fuelGlobal, depthGlobal }: InstrumentedModule) {
    this.#fuel = fuelGlobal === null ? null : (exports[fuelGlobal] as WebAssembly.Global);
    this.#depth = depthGlobal === null ? null : (exports[depthGlobal] as WebAssembly.Global);
  }

  get isMetered(): boolean {
    return this.#fuel !== null;
  }

  get isExhausted(): boolean {
    return this.#left !== null ? this.#left < 0n : ((this.#fuel?.value ?? 0n) as bigint) < 0n;
  }

  get isTooDeep(): boolean {
    return this.#left === null && ((this.#depth?.value ?? 0) as number) < 0;
  }

  /** What the guest's instructions cost so far; more than the limit when it ran out. */
  get used(): bigint {
    return this.#limit - (this.#left ?? ((this.#fuel?.value ?? this.#limit) as bigint));
  }

  start(limit: bigint): void {
    this.#limit = limit;
    if (this.#fuel !== null) this.#fuel.value = limit;
    if (this.#depth !== null) this.#depth.value = DEPTH_MAX;
  }

  /** Keeps what is left: the instance is put back for the next call. */
  stop(): void {
    this.#left = (this.#fuel?.value ?? this.#limit) as bigint;
  }
}

function fuelOf(effects: Effects, meter: Meter | null, fuelLimit: bigint): bigint {
  if (fuelLimit === 0n || meter === null) return 0n;
  return meter.used + BigInt(effects.hostFuel);
}

/** The text of what ended a guest; throws again what was the host's fault. */
function faultOf(error: unknown, meter: Meter | null): string {
  if (error instanceof GuestFault) return error.message;
  if (meter?.isExhausted === true) return OUT_OF_FUEL;
  if (meter?.isTooDeep === true) return 'stack overflow';
  // The end of V8's own stack depends on the machine; metering ends a guest long before it.
  if (error instanceof RangeError && meter?.isMetered === true) throw error;
  const text = trapText(error);
  if (text === null) throw error;
  return text;
}

function outcomeOf(effects: Effects, fuelUsed: bigint): Outcome {
  const { returned, committed, events } = effects;
  if (returned?.isError) {
    const bytes = [...returned.bytes].join(', ');
    return failed(`the method call returned an error: [${bytes}]`, fuelUsed);
  }
  return {
    status: 'ok',
    output: returned?.bytes ?? null,
    error: null,
    events,
    changes: effects.changes(),
    rootHash: committed?.rootHash ?? null,
    artifact: committed?.artifact ?? null,
    fuelUsed,
  };
}

/** Nothing of a failed execution is kept but its error. */
function failed(error: string, fuelUsed: bigint): Outcome {
  return {
    status: 'failed',
    output: null,
    error: storable(error),
    events: [],
    changes: [],
    rootHash: null,
    artifact: null,
    fuelUsed,
  };
}

/** Text that Postgres can hold, of a length that a caller can read. */
function storable(error: string): string {
  return error.replaceAll('\0', '\uFFFD').slice(0, ERROR_CHARS_MAX);
}

function tooMuchToPrepare(): AppError {
  return new AppError(
    'invalid_request',
    'the application cannot be installed: loading it takes too long or calls too deep',
  );
}
