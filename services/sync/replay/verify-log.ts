import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import type { Verification } from '#shared/protocol/audit-api.ts';
import type { Database } from '#shared/store/database.ts';
import { ReplayExecutor } from './executor.ts';
import { Feeder } from './feeder.ts';
import type { ReplayResult } from './messages.ts';

/**
 * Verifies a context's log, or a range of it, in this thread: whoever has other things to do uses
 * `ReplayThreads`.
 */
export async function verifyLog(
  database: Database,
  contextId: ContextId,
  { from = null, to = null }: { readonly from?: bigint | null; readonly to?: bigint | null } = {},
): Promise<Verification> {
  const executor = new ReplayExecutor(() => undefined);
  let result: ReplayResult | null = null;
  const feeder = new Feeder({
    database,
    send: async (message) => {
      result ??= executor.handle(message);
    },
  });
  await feeder.feed({ kind: 'verify', contextId, from, to, share: 1 });
  const settled = result as ReplayResult | null;
  if (settled?.kind === 'verify') return settled.verification;
  throw new AppError('internal', 'a verification has a result');
}
