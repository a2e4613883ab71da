import { setTimeout } from 'node:timers/promises';
import type { Job } from '#shared/protocol/audit-api.ts';
import { CommandError, NodeClient, type NodeOptions } from './node-client.ts';
import { describeJob, progressOf } from './output.ts';

export interface ReplayOptions extends NodeOptions {
  readonly json: boolean;
  readonly signal: AbortSignal;
}

const FIRST_POLL_MS = 50;
const LAST_POLL_MS = 1_000;

/**
 * Begins a verification or rehearsal, waits until it is over and prints what it came to. Gives the
 * exit code: 0 when the log is what it should be, 1 when it is not, 2 when nobody can say.
 */
export async function replay(
  kind: Job['kind'],
  contextId: string,
  body: object,
  options: ReplayOptions,
): Promise<number> {
  const client = await NodeClient.open(options);
  const path = `/admin-api/contexts/${encodeURIComponent(contextId)}/${kind}`;
  const show = async (method: 'GET' | 'POST' | 'DELETE', at: string, sent?: object) =>
    ((await client.request(method, at, sent)) as { data: Job }).data;
  let job = await show('POST', path, body);
  const { signal } = options;
  for (let waitMs = FIRST_POLL_MS; !isOver(job); waitMs = Math.min(LAST_POLL_MS, waitMs * 2)) {
    await setTimeout(waitMs, undefined, { signal }).catch(() => undefined);
    job = await show(signal.aborted ? 'DELETE' : 'GET', `${path}/${job.job}`);
    if (!options.json && process.stderr.isTTY) process.stderr.write(progressOf(job));
  }
  const text = options.json ? JSON.stringify(job) : describeJob(job);
  if (job.state === 'failed' && !options.json) throw new CommandError(job.error ?? 'it failed');
  process.stdout.write(`${text}\n`);
  return exitCodeOf(job);
}

function isOver({ state }: Job): boolean {
  return state !== 'queued' && state !== 'running';
}

function exitCodeOf({ state, verification, rehearsal }: Job): number {
  if (state !== 'done') return 2;
  switch (verification?.outcome ?? rehearsal?.outcome) {
    case 'verified':
    case 'same':
    case 'migrated':
      return 0;
    case 'diverged':
    case 'different':
    case 'migration failed':
      return 1;
    default:
      return 2;
  }
}
