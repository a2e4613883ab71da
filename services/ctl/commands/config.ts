import { natsConfiguration } from '#shared/bus/nats-config.ts';
import { sampleConfig, showConfig } from '#shared/config/describe-config.ts';
import { loadConfig } from '#shared/config/load-config.ts';
import { type SourceFlags, sourcesOf } from '#shared/config/program-arguments.ts';
import { sectionsOf } from '../sections.ts';

export interface ConfigOptions extends SourceFlags {
  /** As this service would see it; all of them when undefined. */
  readonly service: string | undefined;
}

/** Throws ConfigError with everything that is wrong. */
export function checkConfig(options: ConfigOptions): string {
  loadConfig(sectionsOf(options.service), sourcesOf(options, process.env));
  return 'the configuration is good\n';
}

/** The values in effect, without secrets. Throws ConfigError. */
export function showEffective(options: ConfigOptions): string {
  const sections = sectionsOf(options.service);
  return showConfig(sections, loadConfig(sections, sourcesOf(options, process.env)));
}

/** The configuration of the servers of the NATS cluster. */
export function printNats(): string {
  return natsConfiguration();
}

/** A file to begin with. */
export function printSample({ service }: Pick<ConfigOptions, 'service'>): string {
  return sampleConfig(sectionsOf(service));
}
