import { answers } from '#shared/protocol/admin-answers.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { ApplicationId } from '#shared/domain/ids.ts';
import {
  type ApplicationAnswer,
  applicationIdAnswer,
  installApplicationSchema,
  installDevApplicationSchema,
  uninstallApplicationSchema,
} from '#shared/protocol/admin-api.ts';
import { parseApplicationId } from '#shared/protocol/ids.ts';
import type { DoorContext, Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import {
  type Application,
  contextsThatNeed,
  deleteApplication,
  findApplication,
  listApplications,
} from '#shared/store/application-store.ts';
import type { AdminConfig } from '../config.ts';
import { installFromFile, installFromUrl } from '../installation.ts';
import { readJson } from '#shared/service/json-body.ts';

/** Of those that keep an application from being uninstalled. */
const CONTEXTS_NAMED_MAX = 3;

export function applicationRoutes(
  { database, proxies }: ServiceDeps,
  { bodyBytesMax, downloadMs }: AdminConfig,
): readonly Route[] {
  const read = { permission: 'application_read' } as const;
  const install = { permission: 'application_install' } as const;
  return [
    {
      method: 'post',
      path: '/install-application',
      summary: 'Installs an application from a URL.',
      body: installApplicationSchema,
      answer: answers.applicationId,
      rule: install,
      handle: installUrl,
    },
    {
      method: 'post',
      path: '/install-dev-application',
      summary: 'Installs an application from a path of the node’s machine.',
      body: installDevApplicationSchema,
      answer: answers.applicationId,
      rule: install,
      handle: installPath,
    },
    {
      method: 'post',
      path: '/uninstall-application',
      summary: 'Uninstalls an application that no context is of.',
      body: uninstallApplicationSchema,
      answer: answers.applicationId,
      rule: install,
      handle: uninstallByBody,
    },
    {
      method: 'delete',
      path: '/applications/:id',
      summary: 'Uninstalls an application that no context is of.',
      answer: answers.applicationId,
      rule: install,
      handle: uninstallByPath,
    },
    {
      method: 'get',
      path: '/applications',
      summary: 'Lists the installed applications.',
      answer: answers.applications,
      rule: read,
      handle: list,
    },
    {
      method: 'get',
      path: '/applications/:id',
      summary: 'Shows an application.',
      answer: answers.application,
      rule: read,
      handle: show,
    },
    {
      method: 'get',
      path: '/dev/application/:id',
      rule: read,
      summary: 'Shows an application, or null.',
      answer: answers.applicationOrNull,
      handle: find,
    },
  ];

  async function installUrl(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, installApplicationSchema, bodyBytesMax);
    const { hash = null, engine = null } = body;
    const id = await installFromUrl(database, { ...body, hash, engine }, downloadMs);
    context.body = { data: applicationIdAnswer(id) };
  }

  async function installPath(context: DoorContext): Promise<void> {
    if (!proxies.isLoopback(context.req)) {
      throw new AppError('forbidden', 'a path can be installed from the node’s own machine only');
    }
    const body = await readJson(context.req, installDevApplicationSchema, bodyBytesMax);
    context.body = {
      data: applicationIdAnswer(
        await installFromFile(database, { ...body, engine: body.engine ?? null }),
      ),
    };
  }

  async function uninstallByBody(context: DoorContext): Promise<void> {
    const body = await readJson(context.req, uninstallApplicationSchema, bodyBytesMax);
    await uninstall(context, body.applicationId);
  }

  async function uninstallByPath(context: DoorContext): Promise<void> {
    await uninstall(context, context.params['id']);
  }

  /** Not while a context needs it: its log could not be run any more. */
  async function uninstall(context: DoorContext, text: string | undefined): Promise<void> {
    const id = parseId(text);
    switch (await deleteApplication(database, id)) {
      case 'in-use':
        throw await needed(id);
      case 'unknown':
        throw new AppError('not_found', 'Application not found');
      case 'deleted':
        context.body = { data: applicationIdAnswer(id) };
    }
  }

  async function needed(id: ApplicationId): Promise<AppError> {
    const contexts = await contextsThatNeed(database, id, CONTEXTS_NAMED_MAX + 1);
    const named = contexts.slice(0, CONTEXTS_NAMED_MAX).join(', ');
    const more = contexts.length > CONTEXTS_NAMED_MAX ? ' and more' : '';
    return new AppError(
      'conflict',
      `Contexts of the application exist: delete them first (${named}${more}); an upgrade is not ` +
        'enough, as their logs up to it are of this application',
    );
  }

  /** The shape of the dev routes: null for an unknown one. */
  async function find(context: DoorContext): Promise<void> {
    const application = await findApplication(database, parseId(context.params['id']));
    context.body = { data: { application: application === null ? null : answerOf(application) } };
  }

  async function list(context: DoorContext): Promise<void> {
    const apps = await listApplications(database);
    context.body = { data: { apps: apps.map(answerOf) } };
  }

  async function show(context: DoorContext): Promise<void> {
    const application = await findApplication(database, parseId(context.params['id']));
    if (application === null) throw new AppError('not_found', 'Application not found');
    const answer = answerOf(application);
    context.body = { data: { ...answer, application: answer } };
  }
}

function parseId(text: string | undefined) {
  try {
    return parseApplicationId(text);
  } catch {
    throw new AppError('invalid_request', 'Invalid app id');
  }
}

function answerOf(application: Application): ApplicationAnswer {
  const { applicationId, blobId, size, source, metadata, engine } = application;
  return { id: applicationId, blob: blobId, size, source, metadata: [...metadata], engine };
}
