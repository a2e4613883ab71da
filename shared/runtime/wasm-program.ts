import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId } from '#shared/domain/ids.ts';
import {
  type CurrentCall,
  type HostTable,
  hostFunctionsV1,
  hostFunctionsV2,
  isUnsupported,
  unsupported,
} from './host-functions.ts';
import { MeteredGuest, refused } from './metered-guest.ts';
import type { InstrumentedModule } from './metering/instrument.ts';
import type { Program } from './runtime.ts';

const ENTRY_POINT = ':';

/**
 * Compiles an instrumented WebAssembly application of either guest ABI. Throws AppError
 * `invalid_request` that says why it cannot be installed.
 */
export function compileWasmProgram(
  applicationId: ApplicationId,
  code: InstrumentedModule,
): Program {
  const current: CurrentCall = { call: null };
  const guest = new MeteredGuest({ code, imports: link(code, current), current });
  return {
    applicationId,
    hasInit: code.exports.get('init') === ENTRY_POINT,
    execute: (input) => {
      const { method } = input.request;
      const refusal = refusalOf(code, method);
      if (refusal !== null) return refused(refusal);
      return guest.execute(input, (exports) => (exports[method] as () => void)());
    },
  };
}

function refusalOf({ exports }: InstrumentedModule, method: string): string | null {
  const signature = exports.get(method);
  if (signature === ENTRY_POINT) return null;
  const name = JSON.stringify(method);
  if (signature === undefined) return `method ${name} not found`;
  return `method ${name} has invalid signature: expected no arguments and no return value`;
}

/** Builds the import object once; its functions work on whatever call is current. */
export function link(code: InstrumentedModule, current: CurrentCall): WebAssembly.Imports {
  const table = chooseTable(code, current);
  const env: Record<string, (...args: never[]) => unknown> = {};
  for (const { from, name, signature } of code.imports) {
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
function chooseTable({ imports }: InstrumentedModule, current: CurrentCall): HostTable {
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
