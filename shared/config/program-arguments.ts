import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { ConfigError, type ConfigSources } from './load-config.ts';

const USAGE = 'usage: [--config <file.toml>] [--set <section>.<key>=<value>]…';

/**
 * The sources that the command line of a service names: `--config`, or `CAIRN_CONFIG`, for the
 * file, and `--set` for single values. Throws ConfigError.
 */
export function readProgramArguments(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ConfigSources {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { config: { type: 'string' }, set: { type: 'string', multiple: true } },
    });
    return sourcesOf({ config: values.config, set: values.set ?? [] }, environment);
  } catch (error) {
    if (error instanceof ConfigError || !(error instanceof Error)) throw error;
    throw new ConfigError([error.message, USAGE]);
  }
}

export interface SourceFlags {
  readonly config: string | undefined;
  readonly set: readonly string[];
}

/** Reads the file, when there is one. Throws ConfigError. */
export function sourcesOf(
  { config, set }: SourceFlags,
  environment: Readonly<Record<string, string | undefined>>,
): ConfigSources {
  const path = config ?? environment['CAIRN_CONFIG'] ?? '';
  if (path === '') return { file: null, environment, flags: set };
  try {
    return { file: { path, text: readFileSync(path, 'utf8') }, environment, flags: set };
  } catch (error) {
    const { code = 'unknown failure' } = error as NodeJS.ErrnoException;
    throw new ConfigError([`${path}: the configuration cannot be read (${code})`]);
  }
}
