import { parentPort } from 'node:worker_threads';
import { AppError } from '#shared/domain/app-error.ts';
import { compileProgram, type ProgramCode } from '#shared/runtime/engines.ts';
import { instrument } from '#shared/runtime/metering/instrument.ts';
import { assert } from '#shared/util/assert.ts';
import type { Checked } from './check-program.ts';

/** Metering a module takes a while, and a script may run code when it is loaded. */
const port = parentPort;
assert(port !== null, 'this file runs in a worker thread');
port.once('message', (code: Omit<ProgramCode, 'instrumented'>) => port.postMessage(check(code)));

function check(code: Omit<ProgramCode, 'instrumented'>): Checked {
  try {
    const instrumented = code.engine === 'wasm' ? instrument(code.source) : null;
    compileProgram({ ...code, instrumented });
    return { kind: 'good', instrumented };
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return { kind: 'refused', reason: error.message };
  }
}
