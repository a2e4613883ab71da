import { answers } from '#shared/protocol/admin-answers.ts';
import { z } from 'zod';
import { AppError } from '#shared/domain/app-error.ts';
import { parseApplicationId, parseContextId, parsePublicKey } from '#shared/protocol/ids.ts';
import { readJson } from '#shared/service/json-body.ts';
import { type DoorContext, parseContextIdOf, type Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import {
  type AliasKind,
  type AliasSpace,
  createAlias,
  deleteAlias,
  findAlias,
  listAliases,
} from '#shared/store/alias-store.ts';
import type { AdminConfig } from '../config.ts';

const ALIAS_BYTES_MAX = 50;
const alias = z
  .string()
  .min(1)
  .refine((text) => Buffer.byteLength(text) <= ALIAS_BYTES_MAX && !text.includes('\0'), {
    message: `an alias has at most ${ALIAS_BYTES_MAX} bytes`,
  });
const SCHEMAS = {
  context: z.object({ alias, contextId: z.string() }),
  application: z.object({ alias, applicationId: z.string() }),
  identity: z.object({ alias, identity: z.string() }),
} as const;

/** Names for contexts, applications and, within a context, identities. */
export function aliasRoutes(
  { database }: ServiceDeps,
  { bodyBytesMax }: AdminConfig,
): readonly Route[] {
  return (['context', 'application', 'identity'] as const).flatMap((kind): Route[] => {
    const article = kind === 'context' ? 'a context' : `an ${kind}`;
    const space = kind === 'identity' ? `${kind}/:id` : kind;
    const on = kind === 'identity' ? ({ on: 'path' } as const) : {};
    const write = { permission: 'alias_write', ...on } as const;
    const read = { permission: 'context_read', ...on } as const;
    return [
      {
        method: 'post',
        path: `/alias/create/${space}`,
        rule: write,
        summary: `Names ${article}.`,
        body: SCHEMAS[kind],
        answer: answers.nothing,
        handle: create(kind),
      },
      {
        method: 'post',
        path: `/alias/lookup/${space}/:name`,
        rule: read,
        summary: `Finds ${article} by its name.`,
        answer: answers.aliasValue,
        handle: lookup(kind),
      },
      {
        method: 'post',
        path: `/alias/delete/${space}/:name`,
        rule: write,
        summary: `Takes a name from ${article}.`,
        answer: answers.nothing,
        handle: remove(kind),
      },
      {
        method: 'get',
        path: `/alias/list/${space}`,
        rule: read,
        summary: `Lists the names of ${kind === 'identity' ? 'identities' : `${kind}s`}.`,
        answer: answers.aliases,
        handle: list(kind),
      },
    ];
  });

  function create(kind: AliasKind) {
    return async (context: DoorContext): Promise<void> => {
      const body = await readJson(context.req, SCHEMAS[kind], bodyBytesMax);
      const isNew = await createAlias(database, spaceOf(kind, context), body.alias, valueOf(body));
      if (!isNew) throw new AppError('conflict', 'alias already exists');
      context.body = { data: null };
    };
  }

  function lookup(kind: AliasKind) {
    return async (context: DoorContext): Promise<void> => {
      const name = context.params['name'] ?? '';
      context.body = { data: { value: await findAlias(database, spaceOf(kind, context), name) } };
    };
  }

  function remove(kind: AliasKind) {
    return async (context: DoorContext): Promise<void> => {
      await deleteAlias(database, spaceOf(kind, context), context.params['name'] ?? '');
      context.body = { data: null };
    };
  }

  function list(kind: AliasKind) {
    return async (context: DoorContext): Promise<void> => {
      context.body = { data: await listAliases(database, spaceOf(kind, context)) };
    };
  }
}

function spaceOf(kind: AliasKind, context: DoorContext): AliasSpace {
  return { kind, scope: kind === 'identity' ? parseContextIdOf(context.params['id']) : '' };
}

function valueOf(
  body: { contextId: string } | { applicationId: string } | { identity: string },
): string {
  try {
    if ('contextId' in body) return parseContextId(body.contextId);
    if ('applicationId' in body) return parseApplicationId(body.applicationId);
    return parsePublicKey(body.identity);
  } catch (error) {
    throw new AppError('invalid_request', error instanceof Error ? error.message : 'invalid id');
  }
}
