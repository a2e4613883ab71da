import type { Sections } from '#shared/config/fields.ts';
import { nodeSection, processSections } from '#shared/config/sections.ts';
import { adminSection } from '../admin/config.ts';
import { authSection } from '../auth/config.ts';
import { executorConfigSchema } from '../rpc-executor/config.ts';
import { fanoutConfigSchema } from '../subscription-fanout/config.ts';
import { syncSection } from '../sync/config.ts';

/** What each service reads beside `processSections`. */
const SERVICES: Readonly<Record<string, Sections>> = {
  auth: { node: nodeSection, auth: authSection },
  admin: { node: nodeSection, admin: adminSection },
  'rpc-executor': { 'rpc-executor': executorConfigSchema },
  'subscription-fanout': { 'subscription-fanout': fanoutConfigSchema },
  sync: { sync: syncSection },
};

export const SERVICE_NAMES = Object.keys(SERVICES);

/** The sections that one service reads, or all of them. */
export function sectionsOf(service: string | undefined): Sections {
  if (service !== undefined) return { ...processSections, ...SERVICES[service] };
  return Object.assign({}, processSections, ...Object.values(SERVICES)) as Sections;
}
