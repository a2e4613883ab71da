import { AppError } from '#shared/domain/app-error.ts';
import { GENESIS } from '#shared/domain/transaction.ts';
import { answers } from '#shared/protocol/admin-answers.ts';
import { consistencyQuerySchema, proofQuerySchema } from '#shared/protocol/audit-api.ts';
import { consistencyJson, proofJson } from '#shared/protocol/log-proof.ts';
import { type DoorContext, parseContextIdOf, type Route } from '#shared/service/koa/koa-door.ts';
import { requestSignedHead } from '#shared/service/request-signed-head.ts';
import { readQuery } from '#shared/service/koa/read-query.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { readTransactions } from '#shared/store/log-reader.ts';
import { type LogTree, LogTrees } from '#shared/store/log-tree.ts';
import { type ContextRow, findContext } from '#shared/store/transaction-log.ts';
import { Gate } from '#shared/util/gate.ts';
import type { AdminConfig } from '../config.ts';

/** Proofs that a log holds a transaction, and that it went on from where it was. */
export function proofRoutes(
  { bus, clock, database }: ServiceDeps,
  { proofsMax, requestMs }: AdminConfig,
): readonly Route[] {
  const rule = { permission: 'context_audit', on: 'path' } as const;
  const trees = new LogTrees(database);
  const turns = new Gate(proofsMax);
  return [
    {
      method: 'get',
      path: '/contexts/:id/proof',
      summary: 'Gives a file that proves offline that the log holds a transaction.',
      query: proofQuerySchema,
      answer: answers.proof,
      rule,
      handle: prove,
    },
    {
      method: 'get',
      path: '/contexts/:id/proof/consistency',
      summary: 'Gives a file that proves offline that the log began with what it was.',
      query: consistencyQuerySchema,
      answer: answers.consistencyProof,
      rule,
      handle: proveConsistency,
    },
  ];

  async function prove(context: DoorContext): Promise<void> {
    const row = await loadContext(context);
    const sequence = demandIn(row, readQuery(context, proofQuerySchema).sequence);
    const from = sequence > 1n ? sequence - 1n : 1n;
    const range = { from, to: sequence, limit: 2 };
    const rows = await readTransactions(database, row.lineage, range);
    const transaction = rows.at(-1);
    if (transaction?.sequence !== sequence || rows.length !== Number(sequence - from) + 1) {
      throw new AppError('conflict', `the log was changed: transaction ${sequence} is missing`);
    }
    const priorSeal = sequence === 1n ? GENESIS.seal : (rows[0]?.seal ?? GENESIS.seal);
    const tree = await turns.run(() => trees.load(row, sequence));
    const head = await signed(row, tree);
    const path = tree.inclusionPath(sequence);
    context.body = proofJson({ transaction, priorSeal, path, head });
  }

  async function proveConsistency(context: DoorContext): Promise<void> {
    const row = await loadContext(context);
    const from = demandIn(row, readQuery(context, consistencyQuerySchema).from);
    const tree = await turns.run(() => trees.load(row, from));
    const head = await signed(row, tree);
    context.body = consistencyJson({ from, path: tree.consistencyPath(from), head });
  }

  function signed({ contextId }: ContextRow, { size, root, lastSeal }: LogTree) {
    const deadlineMs = clock.nowMs() + requestMs;
    return requestSignedHead(bus, { contextId, size, root, lastSeal }, deadlineMs);
  }

  async function loadContext(context: DoorContext): Promise<ContextRow> {
    const row = await findContext(database, parseContextIdOf(context.params['id']));
    if (row === null) throw new AppError('not_found', 'Context not found');
    return row;
  }
}

function demandIn({ head }: Pick<ContextRow, 'head'>, text: string): bigint {
  const sequence = BigInt(text);
  if (sequence <= head.sequence) return sequence;
  throw new AppError('invalid_request', `the log goes from 1 to ${head.sequence}, not to ${text}`);
}
