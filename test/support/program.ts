import type { Engine } from '#shared/domain/engine.ts';
import { type ApplicationId, ZERO_ID } from '#shared/domain/ids.ts';
import { compileProgram } from '#shared/runtime/engines.ts';
import type { Program } from '#shared/runtime/runtime.ts';

/** A program of a WebAssembly module that nobody installed. */
export function wasmProgram(source: Uint8Array, applicationId?: ApplicationId): Program {
  return programOf(source, 'wasm', applicationId);
}

/** A program that nobody installed. */
export function programOf(
  source: Uint8Array,
  engine: Engine,
  applicationId: ApplicationId = ZERO_ID as ApplicationId,
): Program {
  return compileProgram({ applicationId, engine, source, instrumented: null });
}
