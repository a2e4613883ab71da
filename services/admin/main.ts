import { nodeSection } from '#shared/config/sections.ts';
import { runService } from '#shared/service/run-service.ts';
import { adminSection } from './config.ts';
import { createAdminService } from './service.ts';

await runService({
  name: 'admin',
  sections: { admin: adminSection, node: nodeSection },
  create: (deps, { admin, node }) => createAdminService(deps, { ...admin, ...node }),
});
