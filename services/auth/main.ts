import { nodeSection } from '#shared/config/sections.ts';
import { runService } from '#shared/service/run-service.ts';
import { authSection } from './config.ts';
import { createAuthService } from './service.ts';

await runService({
  name: 'auth',
  sections: { auth: authSection, node: nodeSection },
  create: (deps, { auth, node }) => createAuthService(deps, { ...auth, ...node }),
});
