import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId } from '#shared/domain/ids.ts';
import type { Outcome } from '#shared/domain/transaction.ts';
import { GuestCall, GuestFault } from './guest-call.ts';
import {
  type CurrentCall,
  type HostTable,
  hostFunctionsV1,
  hostFunctionsV2,
  isUnsupported,
  unsupported,
} from './host-functions.ts';
import { InstancePool } from './instance-pool.ts';
import { limits } from './limits.ts';
import type { ExecutionResult, Program } from './runtime.ts';
import { trapText } from './trap-text.ts';
import { type ParsedModule, parseModule } from './wasm-module.ts';

const ENTRY_POINT = ':';
/** The longest form of an error of `errorBytesMax`: `255, ` for each byte. */
const ERROR_CHARS_MAX = 64 + 5 * limits.errorBytesMax;

/**
 * Validates and compiles a WebAssembly application of either guest ABI; each execution
 * gets an instance as good as fresh. Throws AppError `invalid_request` that says why it cannot be installed.
 */
export function compileWasmProgram(applicationId: ApplicationId, bytes: Uint8Array): Program {
  const parsed = parseModule(bytes);
  const current: CurrentCall = { call: null };
  const imports = link(parsed, current);
  const module = new WebAssembly.Module(parsed.bytes);
  const instances = new InstancePool(module, imports, parsed.globals);
  return {
    applicationId,
    hasInit: parsed.exports.get('init') === ENTRY_POINT,
    execute: (input) => {
      const refusal = refusalOf(parsed, input.request.method);
      if (refusal !== null) return { outcome: failed(refusal), logs: [], hasRun: false };
      const call = new GuestCall(input);
      current.call = call;
      try {
        return run(instances, call, input.request.method);
      } finally {
        current.call = null;
      }
    },
  };
}

function run(instances: InstancePool, call: GuestCall, method: string): ExecutionResult {
  try {
    instances.run((exports) => {
      call.memory = exports['memory'] as WebAssembly.Memory;
      (exports[method] as () => void)();
    });
  } catch (error) {
    const text = error instanceof GuestFault ? error.message : trapText(error);
    if (text === null) throw error;
    return { outcome: failed(text), logs: call.logs, hasRun: true };
  }
  return { outcome: outcomeOf(call), logs: call.logs, hasRun: true };
}

function outcomeOf(call: GuestCall): Outcome {
  const { returned, committed, events } = call;
  if (returned?.isError) {
    return failed(`the method call returned an error: [${[...returned.bytes].join(', ')}]`);
  }
  return {
    status: 'ok',
    output: returned?.bytes ?? null,
    error: null,
    events,
    changes: call.changes(),
    rootHash: committed?.rootHash ?? null,
    artifact: committed?.artifact ?? null,
    fuelUsed: 0n,
  };
}

/** Nothing of a failed execution is kept but its error. */
function failed(error: string): Outcome {
  return {
    status: 'failed',
    output: null,
    error: storable(error),
    events: [],
    changes: [],
    rootHash: null,
    artifact: null,
    fuelUsed: 0n,
  };
}

/** Text that Postgres can hold, of a length that a caller can read. */
function storable(error: string): string {
  return error.replaceAll('\0', '\uFFFD').slice(0, ERROR_CHARS_MAX);
}

function refusalOf({ exports }: ParsedModule, method: string): string | null {
  const signature = exports.get(method);
  if (signature === ENTRY_POINT) return null;
  const name = JSON.stringify(method);
  if (signature === undefined) return `method ${name} not found`;
  return `method ${name} has invalid signature: expected no arguments and no return value`;
}

/** Builds the import object once; its functions work on whatever call is current. */
function link(parsed: ParsedModule, current: CurrentCall): WebAssembly.Imports {
  const table = chooseTable(parsed, current);
  const env: Record<string, (...args: never[]) => unknown> = {};
  for (const { from, name, signature } of parsed.imports) {
    if (from !== 'env') throw unknownImport(from, name);
    const known = table.get(name);
    if (known === undefined && !isUnsupported(name)) throw unknownImport(from, name);
    if (known !== undefined) {
      const [parameters = '', result = ''] = signature.split(':');
      if (parameters.length !== known.parameters || result !== known.result) {
        throw new AppError(
          'invalid_request',
          `the application cannot be installed: it imports "env.${name}" with another signature`,
        );
      }
    }
    env[name] = known?.run ?? unsupported(name);
  }
  return { env };
}

/** `value_return` has three parameters in ABI v1 and one in v2; without it, the better fit wins. */
function chooseTable({ imports }: ParsedModule, current: CurrentCall): HostTable {
  const v1 = hostFunctionsV1(current);
  const v2 = hostFunctionsV2(current);
  const parametersOf = (signature: string) => signature.indexOf(':');
  const decisive = imports.find(({ name }) => name === 'value_return');
  if (decisive !== undefined) return parametersOf(decisive.signature) === 3 ? v1 : v2;
  const fits = (table: HostTable) =>
    imports.filter(({ name, signature }) => table.get(name)?.parameters === parametersOf(signature))
      .length;
  return fits(v1) > fits(v2) ? v1 : v2;
}

function unknownImport(from: string, name: string): AppError {
  return new AppError(
    'invalid_request',
    `the application cannot be installed: it imports "${from}.${name}", which does not exist here`,
  );
}
