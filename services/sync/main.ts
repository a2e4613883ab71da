import { tlsOf, withPassword } from '#shared/service/connect.ts';
import { runService } from '#shared/service/run-service.ts';
import { syncSection } from './config.ts';
import { createSyncService } from './service.ts';

await runService({
  name: 'sync',
  sections: { sync: syncSection },
  create: (deps, { sync, postgres }) =>
    createSyncService(deps, {
      ...sync,
      databaseUrl: withPassword(postgres.url, postgres.password),
      databaseTls: tlsOf(postgres),
    }),
});
