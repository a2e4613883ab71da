import type { Engine } from '#shared/domain/engine.ts';
import type { ApplicationId } from '#shared/domain/ids.ts';
import { UNMETERED } from './execution-version.ts';
import { compileJavaScriptProgram, runJavaScript } from './javascript/javascript-program.ts';
import { refused } from './metered-guest.ts';
import { type InstrumentedModule, instrument } from './metering/instrument.ts';
import { compileRhaiProgram, runRhai } from './rhai/rhai-program.ts';
import type { ExecutionInput, ExecutionResult, Program } from './runtime.ts';
import { compileWasmProgram } from './wasm-program.ts';

/** All that a thread needs to run an application; can be posted to a worker. */
export interface ProgramCode {
  readonly applicationId: ApplicationId;
  readonly engine: Engine;
  /** The application as it was installed. */
  readonly source: Uint8Array;
  /** A WebAssembly application with metering, if it is at hand: making it takes a while. */
  readonly instrumented: InstrumentedModule | null;
}

/**
 * Makes a program of an application, able to execute transactions of every version of the rules.
 * Throws AppError `invalid_request` that says why it cannot be installed.
 */
export function compileProgram(code: ProgramCode): Program {
  const { applicationId, engine, source } = code;
  if (engine === 'javascript') return compileJavaScriptProgram(applicationId, source);
  if (engine === 'rhai') return compileRhaiProgram(applicationId, source);
  const metered = compileWasmProgram(applicationId, code.instrumented ?? instrument(source));
  let unmetered: Program | null = null;
  return {
    applicationId,
    hasInit: metered.hasInit,
    execute: (input) => {
      if (input.request.executionVersion !== UNMETERED) return metered.execute(input);
      unmetered ??= compileWasmProgram(applicationId, instrument(source, { metered: false }));
      return unmetered.execute(input);
    },
  };
}

/** Runs the script of a `play`: its payload, in the engine that its method names. */
export function runScript(input: ExecutionInput): ExecutionResult {
  const { method, payload } = input.request;
  switch (method) {
    case 'javascript':
      return runJavaScript(payload, input);
    case 'rhai':
      return runRhai(payload, input);
    default:
      return refused(`no engine runs scripts in ${JSON.stringify(method)}`);
  }
}
