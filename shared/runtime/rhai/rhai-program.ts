import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { type ApplicationId, type ContextId, type PublicKey, ZERO_ID } from '#shared/domain/ids.ts';
import { GuestFault } from '../effects.ts';
import { EXECUTION_VERSION } from '../execution-version.ts';
import { GuestCall } from '../guest-call.ts';
import type { CurrentCall } from '../host-functions.ts';
import { Spare } from '../instance-pool.ts';
import { limits } from '../limits.ts';
import { MeteredGuest, refused } from '../metered-guest.ts';
import { invalid } from '../metering/byte-reader.ts';
import { type InstrumentedModule, instrument } from '../metering/instrument.ts';
import type { ExecutionInput, ExecutionResult, Program } from '../runtime.ts';
import { trapText } from '../trap-text.ts';
import { link } from '../wasm-program.ts';

/** What `load` of the engine says: the methods of the script, or why it has none. */
type Report =
  | { readonly methods: readonly string[] }
  | { readonly error: string; readonly line: number; readonly column: number };

/** A script in an engine, which every call finds as it was after loading. */
interface Loaded {
  readonly methods: ReadonlySet<string>;
  /** Runs an export of the engine that takes a text. */
  readonly run: (input: ExecutionInput, name: 'call' | 'eval', text: Uint8Array) => ExecutionResult;
}

interface Engine {
  readonly code: InstrumentedModule;
  readonly imports: WebAssembly.Imports;
}

const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf];
/** While a script is loaded there is nothing to read, and the only thing to say is an error. */
const LOADING: ExecutionInput = {
  contextId: ZERO_ID as ContextId,
  state: new Map(),
  readOnly: true,
  request: {
    kind: 'execute',
    method: '',
    payload: new Uint8Array(),
    executorPublicKey: ZERO_ID as PublicKey,
    principal: '',
    requestId: null,
    timeNs: 0n,
    randomSeed: new Uint8Array(32),
    executionVersion: EXECUTION_VERSION,
    fuelLimit: 0n,
  },
};

/** What all scripts of a thread take turns with. */
const current: CurrentCall = { call: null };
const spare = new Spare();

/**
 * Loads an application written in Rhai: its public functions are its methods. Throws AppError
 * `invalid_request`, with line and column where the script cannot be parsed.
 */
export function compileRhaiProgram(applicationId: ApplicationId, source: Uint8Array): Program {
  const { methods, run } = load(textOf(source));
  return {
    applicationId,
    hasInit: methods.has('init'),
    execute: (input) => {
      const { method } = input.request;
      if (!methods.has(method)) return refused(`method ${JSON.stringify(method)} not found`);
      return run(input, 'call', Buffer.from(method));
    },
  };
}

let scripts: Loaded | null = null;

/**
 * Runs a script once, with the constants `CALLER_ID` and `CONTEXT_ID` (base58). The output is the
 * JSON of its last expression: `let x = 10; x * 2` gives `20`. An error of syntax is an outcome.
 */
export function runRhai(script: Uint8Array, input: ExecutionInput): ExecutionResult {
  if (script.length > limits.scriptBytesMax) {
    return refused(`the script has more than ${limits.scriptBytesMax} bytes`);
  }
  scripts ??= load(new Uint8Array());
  return scripts.run(input, 'eval', script);
}

function load(source: Uint8Array): Loaded {
  const { code, imports } = engine();
  let methods: ReadonlySet<string> = new Set();
  const guest = new MeteredGuest({
    code,
    imports,
    current,
    spare,
    prepare: (exports) => {
      const { call } = current;
      current.call = new GuestCall(LOADING);
      current.call.memory = exports['memory'] as WebAssembly.Memory;
      try {
        methods = new Set(loadInto(exports, source));
      } finally {
        current.call = call;
      }
    },
  });
  return {
    methods,
    run: (input, name, text) => guest.execute(input, (exports) => void give(exports, name, text)),
  };
}

/** Gives the names of the methods. */
function loadInto(exports: WebAssembly.Exports, source: Uint8Array): readonly string[] {
  const report = tryToLoad(exports, source);
  if ('methods' in report) return report.methods;
  const { line, column, error } = report;
  throw invalid(`line ${line}, column ${column}: ${error}`);
}

function tryToLoad(exports: WebAssembly.Exports, source: Uint8Array): Report {
  try {
    (exports['start'] as () => void)();
    const place = BigInt.asUintN(64, give(exports, 'load', source) as bigint);
    const { buffer } = exports['memory'] as WebAssembly.Memory;
    const text = Buffer.from(buffer, Number(place >> 32n), Number(place & 0xffff_ffffn));
    return JSON.parse(text.toString()) as Report;
  } catch (error) {
    const reason = error instanceof GuestFault ? error.message : trapText(error);
    if (reason === null) throw error;
    throw invalid(`the script cannot be loaded: ${reason}`);
  }
}

/** Calls an export of the engine with a text. */
function give(exports: WebAssembly.Exports, name: string, text: Uint8Array): unknown {
  try {
    const at = (exports['alloc'] as (length: number) => number)(text.length);
    const { buffer } = exports['memory'] as WebAssembly.Memory;
    new Uint8Array(buffer, at, text.length).set(text);
    return (exports[name] as (at: number, length: number) => unknown)(at, text.length);
  } catch (error) {
    // Its stack ends at address 0, and nothing else of the engine leaves its memory.
    if (trapText(error) === 'memory out of bounds') throw new GuestFault('stack overflow');
    throw error;
  }
}

let made: Engine | null = null;

/** The engine with metering, made once per thread. */
function engine(): Engine {
  if (made === null) {
    const code = instrument(readFileSync(new URL('rhai.wasm', import.meta.url)));
    made = { code, imports: link(code, current) };
  }
  return made;
}

/** The text without its byte order mark. */
function textOf(source: Uint8Array): Uint8Array {
  if (source.length > limits.scriptBytesMax) {
    throw invalid(`the script has ${source.length} bytes, more than ${limits.scriptBytesMax}`);
  }
  if (!isUtf8(source)) throw invalid('the script is not UTF-8 text');
  return BYTE_ORDER_MARK.every((byte, i) => source[i] === byte) ? source.subarray(3) : source;
}
