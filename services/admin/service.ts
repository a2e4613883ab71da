import type { Service, ServiceDeps } from '#shared/service/service.ts';
import type { AdminConfig } from './config.ts';
import { createAdminHandler } from './http.ts';

/** The Admin API: applications, contexts and blobs. */
export function createAdminService(deps: ServiceDeps, config: AdminConfig): Service {
  let isStarted = false;
  return {
    name: 'admin',
    door: { prefixes: ['/admin-api'], handle: createAdminHandler(deps, config) },
    isReady: () => isStarted && deps.bus.isConnected(),
    start: async () => {
      isStarted = true;
    },
    [Symbol.asyncDispose]: async () => {
      isStarted = false;
    },
  };
}
