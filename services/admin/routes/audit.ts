import { subjects } from '#shared/bus/subjects.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { answers } from '#shared/protocol/admin-answers.ts';
import {
  type JobRequest,
  type ReplayRequest,
  rehearseSchema,
  verifySchema,
} from '#shared/protocol/audit-api.ts';
import { parseApplicationId } from '#shared/protocol/ids.ts';
import { readJson } from '#shared/service/json-body.ts';
import { type DoorContext, parseContextIdOf, type Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import type { AdminConfig } from '../config.ts';

const REQUEST_MS = 10_000;

/**
 * Verifying and rehearsing take longer than a request may: they are begun by one, and asked for
 * by others until they are over.
 */
export function auditRoutes(
  { bus, clock }: ServiceDeps,
  { bodyBytesMax }: AdminConfig,
): readonly Route[] {
  const rule = { permission: 'context_audit', on: 'path' } as const;
  const answer = answers.job;
  return [
    {
      method: 'post',
      path: '/contexts/:id/verify',
      summary: 'Begins to run the log of a context again and to compare.',
      body: verifySchema,
      answer,
      rule,
      handle: verify,
    },
    {
      method: 'post',
      path: '/contexts/:id/rehearse',
      summary: 'Begins to run the log of a context with another application, writing nothing.',
      body: rehearseSchema,
      answer,
      rule,
      handle: rehearse,
    },
    ...(['verify', 'rehearse'] as const).flatMap((kind): Route[] => [
      {
        method: 'get',
        path: `/contexts/:id/${kind}/:job`,
        summary: 'Tells how far it is, and what it came to.',
        answer,
        rule,
        handle: ask('show'),
      },
      {
        method: 'delete',
        path: `/contexts/:id/${kind}/:job`,
        summary: 'Stops it.',
        answer,
        rule,
        handle: ask('abort'),
      },
    ]),
  ];

  async function verify(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, verifySchema, bodyBytesMax);
    const { from = null, to = null } = body;
    await start(context, { kind: 'verify', contextId: idOf(context), from, to });
  }

  async function rehearse(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, rehearseSchema, bodyBytesMax);
    const { from = null, to = null, migrationMethod = null } = body;
    const applicationId = parseApplicationId(body.applicationId);
    const range = { contextId: idOf(context), from, to };
    await start(context, { kind: 'rehearse', ...range, applicationId, migrationMethod });
  }

  function start(context: DoorContext, request: ReplayRequest): Promise<void> {
    return answerWith(context, subjects.syncStart, request);
  }

  function ask(action: JobRequest['action']) {
    return async (context: DoorContext): Promise<void> => {
      const job = context.params['job'] ?? '';
      if (!/^[0-9a-f]{32}$/.test(job)) throw noSuchJob();
      const request = { contextId: idOf(context), action } satisfies JobRequest;
      await answerWith(context, subjects.syncJob(job), request).catch((error: unknown) => {
        // The replica that had it is gone, or has forgotten it.
        throw error instanceof AppError && error.code === 'unavailable' ? noSuchJob() : error;
      });
    };
  }

  async function answerWith(context: DoorContext, subject: string, request: object): Promise<void> {
    const payload = Buffer.from(JSON.stringify(request));
    const deadlineMs = clock.nowMs() + REQUEST_MS;
    const reply = await bus.request(subject, payload, { deadlineMs });
    context.body = { data: JSON.parse(Buffer.from(reply).toString()) as unknown };
  }
}

function idOf(context: DoorContext) {
  return parseContextIdOf(context.params['id']);
}

function noSuchJob(): AppError {
  return new AppError('not_found', 'no such job: it is long over, or the node was restarted');
}
