import type { z } from 'zod';
import { AppError } from '#shared/domain/app-error.ts';
import { answers } from '#shared/protocol/admin-answers.ts';
import {
  bytesOrNull,
  diffQuerySchema,
  differenceAnswer,
  differenceSchema,
  entryAnswer,
  entrySchema,
  historyQuerySchema,
  keyAnswer,
  keyChangeSchema,
  limitOf,
  loggedAnswer,
  loggedSchema,
  logQuerySchema,
  stateQuerySchema,
  timeAnswer,
} from '#shared/protocol/history-api.ts';
import { acceptsLines, answerList, type LongList } from '#shared/service/koa/answer-list.ts';
import { type DoorContext, parseContextIdOf, type Route } from '#shared/service/koa/koa-door.ts';
import { readQuery } from '#shared/service/koa/read-query.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { type KeyChange, streamKeyHistory } from '#shared/store/key-history.ts';
import { streamTransactions } from '#shared/store/log-reader.ts';
import { streamDifference, streamState } from '#shared/store/time-travel.ts';
import { type ContextRow, findContext } from '#shared/store/transaction-log.ts';
import type { AdminConfig } from '../config.ts';

const LOG_ITEMS = 100;
const STATE_ITEMS = 1_000;

type Looked<Item> = Omit<LongList<Item>, 'idleMs'>;

/** Looking back: the log of a context, its state at any sequence, and what changed. */
export function historyRoutes(
  { database }: ServiceDeps,
  { historyReadsMax, historyIdleMs }: AdminConfig,
): readonly Route[] {
  const rule = { permission: 'context_history', on: 'path' } as const;
  let reading = 0;
  return [
    {
      method: 'get',
      path: '/contexts/:id/log',
      summary: 'Gives the transactions of a context.',
      query: logQuerySchema,
      answer: answers.log,
      line: loggedSchema,
      rule,
      handle: looking(logQuerySchema, log),
    },
    {
      method: 'get',
      path: '/contexts/:id/state',
      summary: 'Gives the state of a context at a sequence.',
      query: stateQuerySchema,
      answer: answers.state,
      line: entrySchema,
      rule,
      handle: looking(stateQuerySchema, state),
    },
    {
      method: 'get',
      path: '/contexts/:id/diff',
      summary: 'Tells what changed in a context between two sequences.',
      query: diffQuerySchema,
      answer: answers.difference,
      line: differenceSchema,
      rule,
      handle: looking(diffQuerySchema, diff),
    },
    {
      method: 'get',
      path: '/contexts/:id/history',
      summary: 'Gives the changes of one key of a context, the newest first.',
      query: historyQuerySchema,
      answer: answers.keyHistory,
      line: keyChangeSchema,
      rule,
      handle: looking(historyQuerySchema, history),
    },
  ];

  /** Each holds a connection to the database again and again, for as long as its caller reads. */
  function looking<Schema extends z.ZodObject, Item>(
    schema: Schema,
    look: (context: ContextRow, query: z.output<Schema>, isLines: boolean) => Looked<Item>,
  ) {
    return async (context: DoorContext): Promise<void> => {
      if (reading >= historyReadsMax) {
        throw new AppError('overloaded', 'too many are looking back already, try again');
      }
      reading += 1;
      const done = () => {
        reading -= 1;
      };
      if (context.res.closed) done();
      else context.res.once('close', done);
      const query = readQuery(context, schema);
      const row = await findContext(database, parseContextIdOf(context.params['id']));
      if (row === null || row.deletedAt !== null) {
        throw new AppError('not_found', 'Context not found');
      }
      const looked = look(row, query, acceptsLines(context));
      await answerList(context, { ...looked, idleMs: historyIdleMs });
    };
  }

  function log(
    { contextId, head, lineage }: ContextRow,
    query: z.output<typeof logQuerySchema>,
    isLines: boolean,
  ) {
    const newestFirst = query.order === 'newest';
    const from = query.from ?? (newestFirst ? head.sequence : 1n);
    const isThere = from >= 1n && from <= head.sequence;
    // Whoever has read everything may ask for what comes.
    if (!isThere && !(from === head.sequence + 1n && !newestFirst)) throw beyond('from', head);
    const limit = isLines ? (query.limit ?? null) : limitOf(query.limit, LOG_ITEMS);
    // One more, which tells whether there is more.
    const reach = limit === null ? head.sequence : BigInt(limit) + 1n;
    const range = newestFirst
      ? { from: from > reach ? from - reach : 0n, to: from, newestFirst }
      : { from: from - 1n, to: least(from - 1n + reach, head.sequence) };
    return {
      lead: { contextId, head: head.sequence.toString() },
      name: 'transactions',
      pages: streamTransactions(database, lineage, range),
      encode: loggedAnswer,
      limit,
      cursorOf: (_last: unknown, following: { readonly sequence: bigint }) =>
        following.sequence.toString(),
    };
  }

  function state(
    { contextId, head, lineage }: ContextRow,
    query: z.output<typeof stateQuerySchema>,
    isLines: boolean,
  ) {
    const at = query.at ?? head.sequence;
    if (at > head.sequence) throw beyond('at', head);
    return {
      lead: { contextId, sequence: at.toString() },
      name: 'entries',
      pages: streamState(database, lineage, { at, filter: filterOf(query) }),
      encode: ([key, value]: readonly [string, Uint8Array]) => entryAnswer(key, value),
      limit: isLines ? (query.limit ?? null) : limitOf(query.limit, STATE_ITEMS),
      cursorOf: ([key]: readonly [string, Uint8Array]) => keyAnswer(key).key,
    };
  }

  function diff(
    { contextId, head, lineage }: ContextRow,
    query: z.output<typeof diffQuerySchema>,
    isLines: boolean,
  ) {
    const { from, to = head.sequence } = query;
    if (from > head.sequence) throw beyond('from', head);
    if (to > head.sequence) throw beyond('to', head);
    if (from > to) throw new AppError('invalid_request', `from ${from} is behind to ${to}`);
    return {
      lead: { contextId, from: from.toString(), to: to.toString() },
      name: 'differences',
      pages: streamDifference(database, lineage, { from, to, filter: filterOf(query) }),
      encode: differenceAnswer,
      limit: isLines ? (query.limit ?? null) : limitOf(query.limit, STATE_ITEMS),
      cursorOf: ({ key }: { readonly key: string }) => keyAnswer(key).key,
    };
  }

  function history(
    { contextId, head, lineage }: ContextRow,
    query: z.output<typeof historyQuerySchema>,
    isLines: boolean,
  ) {
    const at = query.at ?? head.sequence;
    if (at > head.sequence) throw beyond('at', head);
    const key = Buffer.from(query.key, 'latin1');
    return {
      lead: { contextId, ...keyAnswer(query.key) },
      name: 'changes',
      pages: streamKeyHistory(database, lineage, { key, at }),
      encode: changeAnswer,
      limit: isLines ? (query.limit ?? null) : limitOf(query.limit, LOG_ITEMS),
      cursorOf: (_last: unknown, following: KeyChange) => following.sequence.toString(),
    };
  }
}

function changeAnswer({ timeNs, before, after, sequence, ...change }: KeyChange) {
  return {
    ...change,
    sequence: sequence.toString(),
    ...timeAnswer(timeNs),
    old: bytesOrNull(before),
    new: bytesOrNull(after),
  };
}

function filterOf({
  prefix = '',
  after,
}: {
  prefix?: string | undefined;
  after?: string | undefined;
}) {
  return { prefix, after: after ?? null };
}

function beyond(name: string, { sequence }: ContextRow['head']): AppError {
  return new AppError('invalid_request', `${name} is not in the log, which ends at ${sequence}`);
}

function least(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}
