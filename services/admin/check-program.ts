import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { AppError } from '#shared/domain/app-error.ts';
import type { ProgramCode } from '#shared/runtime/engines.ts';
import { type InstrumentedModule, STACK_SIZE_MB } from '#shared/runtime/metering/instrument.ts';
import { Gate } from '#shared/util/gate.ts';

/** What the thread says of an application. */
export type Checked =
  | { readonly kind: 'good'; readonly instrumented: InstrumentedModule | null }
  | { readonly kind: 'refused'; readonly reason: string };

const CHECKS_AT_ONCE = 2;
const CHECK_MS = 60_000;
const gate = new Gate(CHECKS_AT_ONCE);

/**
 * Loads an application once, in a thread of its own, and gives its module with metering, if it is
 * one. Throws AppError `invalid_request` that says why it cannot be installed.
 */
export async function checkProgram(
  code: Omit<ProgramCode, 'instrumented'>,
): Promise<InstrumentedModule | null> {
  const checked = await gate.run(() => runThread(code));
  if (checked.kind === 'good') return checked.instrumented;
  throw new AppError('invalid_request', checked.reason);
}

async function runThread(code: Omit<ProgramCode, 'instrumented'>): Promise<Checked> {
  const worker = new Worker(new URL('./check-thread.ts', import.meta.url), {
    resourceLimits: { stackSizeMb: STACK_SIZE_MB },
  });
  try {
    worker.postMessage(code);
    const signal = AbortSignal.timeout(CHECK_MS);
    const [checked] = (await once(worker, 'message', { signal })) as [Checked];
    return checked;
  } catch (error) {
    if (error instanceof Error && error.name === 'AbortError') {
      throw new AppError('timeout', `the application could not be loaded within ${CHECK_MS} ms`);
    }
    throw error;
  } finally {
    await worker.terminate();
  }
}
