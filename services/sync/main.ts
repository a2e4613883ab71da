import { postgresSection } from '#shared/config/sections.ts';
import { withPassword } from '#shared/service/connect.ts';
import { runService } from '#shared/service/run-service.ts';
import { syncSection } from './config.ts';
import { createSyncService } from './service.ts';

await runService({
  name: 'sync',
  sections: { sync: syncSection, postgres: postgresSection },
  create: (deps, { sync, postgres: { url, password } }) =>
    createSyncService(deps, { ...sync, databaseUrl: withPassword(url, password) }),
});
