import { ConfigError, loadConfig } from '#shared/config/load-config.ts';
import { type SourceFlags, sourcesOf } from '#shared/config/program-arguments.ts';
import { postgresSection } from '#shared/config/sections.ts';
import { tlsOf, withPassword } from '#shared/service/connect.ts';
import { migrate } from '#shared/store/migrate.ts';

const sections = { postgres: postgresSection.partial({ url: true }) } as const;

/**
 * Brings the schema up to date as the owner, and grants the role of the services what it needs.
 * Throws ConfigError.
 */
export async function migrateSchema(flags: SourceFlags): Promise<string> {
  const { postgres } = loadConfig(sections, sourcesOf(flags, process.env)).values;
  const { ownerUrl, ownerPassword, password, url } = postgres;
  if (ownerUrl === null) throw new ConfigError(['postgres.ownerUrl is missing']);
  const servicePassword = password ?? passwordOf(url);
  if (servicePassword === null) throw new ConfigError(['postgres.password is missing']);
  const user = url === undefined ? '' : decodeURIComponent(new URL(url).username);
  await migrate({
    ownerUrl: withPassword(ownerUrl, ownerPassword),
    servicePassword,
    ...(user === '' ? {} : { serviceRole: user }),
    tls: tlsOf(postgres),
  });
  return 'the schema is up to date\n';
}

function passwordOf(url: string | undefined): string | null {
  const text = url === undefined ? '' : new URL(url).password;
  return text === '' ? null : decodeURIComponent(text);
}
