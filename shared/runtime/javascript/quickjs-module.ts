import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { sha256 } from '#shared/crypto/sha256.ts';
import { type InstrumentedModule, instrument } from '../metering/instrument.ts';

/** Of `quickjs.wasm` in quickjs-wasi 3.6.2 (QuickJS-ng 0.17.0). Another binary costs other fuel. */
const WASM_SHA256 = 'd4c9375f2b1ca4dc95f72c8aa2982a7a9951ac8011490d79c6582df732b4bbd9';

let made: InstrumentedModule | null = null;

/**
 * QuickJS with metering, made once per thread. Throws when the installed binary is not the one
 * whose fuel the logs were written with.
 */
export function quickJsModule(): InstrumentedModule {
  if (made === null) {
    const path = fileURLToPath(import.meta.resolve('quickjs-wasi/quickjs.wasm'));
    const bytes = readFileSync(path);
    refuseOtherBinary(bytes, path);
    made = instrument(bytes);
  }
  return made;
}

/** Throws an Error that tells which binary is missing, and what to do. */
export function refuseOtherBinary(bytes: Uint8Array, path: string): void {
  const digest = Buffer.from(sha256(bytes)).toString('hex');
  if (digest === WASM_SHA256) return;
  throw new Error(
    `${path} has the SHA-256 ${digest} instead of ${WASM_SHA256}: replaying a log with it would ` +
      'cost other fuel. Install the locked dependencies again (npm ci).',
  );
}
