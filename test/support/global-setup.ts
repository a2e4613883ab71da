import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { infraDirectory, publishInfra, startInfra } from './infra.ts';

/** Starts Postgres and NATS once for all files of a run. */
export default async function setup(): Promise<() => Promise<void>> {
  const stack = new AsyncDisposableStack();
  await rm(join(infraDirectory, 'postgres'), { recursive: true, force: true });
  await mkdir(infraDirectory, { recursive: true });
  publishInfra(await startInfra(stack, infraDirectory));
  return () => stack.disposeAsync();
}
