import type { LoadedConfig } from '#shared/config/load-config.ts';
import { nodeSection, postgresSection, processSections } from '#shared/config/sections.ts';
import { adminSection } from '../admin/config.ts';
import { authSection } from '../auth/config.ts';
import { executorConfigSchema } from '../rpc-executor/config.ts';
import { fanoutConfigSchema } from '../subscription-fanout/config.ts';
import { syncSection } from '../sync/config.ts';

/** The same file as for the services alone; what is not given, this node makes for itself. */
export const standaloneSections = {
  ...processSections,
  node: nodeSection.partial(),
  postgres: postgresSection.partial({ url: true }),
  auth: authSection.partial({ adminToken: true, setupToken: true, nodeKey: true }),
  admin: adminSection,
  'rpc-executor': executorConfigSchema,
  'subscription-fanout': fanoutConfigSchema,
  sync: syncSection,
} as const;

export type StandaloneConfig = LoadedConfig<typeof standaloneSections>;
