import { type ApplicationId, ZERO_ID } from '#shared/domain/ids.ts';
import { compileProgram } from '#shared/runtime/engines.ts';
import type { Program } from '#shared/runtime/runtime.ts';

/** A program of a WebAssembly module that nobody installed. */
export function wasmProgram(
  source: Uint8Array,
  applicationId: ApplicationId = ZERO_ID as ApplicationId,
): Program {
  return compileProgram({ applicationId, engine: 'wasm', source, instrumented: null });
}
