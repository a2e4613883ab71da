import { AppError } from '#shared/domain/app-error.ts';
import {
  type ApplicationAnswer,
  applicationIdAnswer,
  installApplicationSchema,
  installDevApplicationSchema,
} from '#shared/protocol/admin-api.ts';
import { parseApplicationId } from '#shared/protocol/ids.ts';
import { isLoopback } from '#shared/service/authenticate.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import {
  type Application,
  findApplication,
  listApplications,
} from '#shared/store/application-store.ts';
import type { AdminConfig } from '../config.ts';
import type { AdminRouter } from '../http.ts';
import { installFromFile, installFromUrl } from '../installation.ts';
import { readJson } from '../json-body.ts';

export function addApplicationRoutes(
  router: AdminRouter,
  { database }: ServiceDeps,
  { bodyBytesMax, downloadMs }: AdminConfig,
): void {
  router.post('/install-application', async (context) => {
    const body = await readJson(context.req, installApplicationSchema, bodyBytesMax);
    const id = await installFromUrl(database, { ...body, hash: body.hash ?? null }, downloadMs);
    context.body = { data: applicationIdAnswer(id) };
  });

  router.post('/install-dev-application', async (context) => {
    if (!isLoopback(context.req)) {
      throw new AppError('forbidden', 'a path can be installed from the node’s own machine only');
    }
    const body = await readJson(context.req, installDevApplicationSchema, bodyBytesMax);
    context.body = { data: applicationIdAnswer(await installFromFile(database, body)) };
  });

  router.get('/applications', async (context) => {
    const apps = await listApplications(database);
    context.body = { data: { apps: apps.map(answerOf) } };
  });

  router.get('/applications/:id', async (context) => {
    const application = await findApplication(database, parseId(context.params['id']));
    if (application === null) throw new AppError('not_found', 'Application not found');
    const answer = answerOf(application);
    context.body = { data: { ...answer, application: answer } };
  });
}

function parseId(text: string | undefined) {
  try {
    return parseApplicationId(text);
  } catch {
    throw new AppError('invalid_request', 'Invalid app id');
  }
}

function answerOf(application: Application): ApplicationAnswer {
  const { applicationId, blobId, size, source, metadata } = application;
  return { id: applicationId, blob: blobId, size, source, metadata: [...metadata] };
}
