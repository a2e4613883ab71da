#!/usr/bin/env node
import { Command, Option } from 'commander';
import { ConfigError } from '#shared/config/load-config.ts';
import type { SourceFlags } from '#shared/config/program-arguments.ts';
import { checkConfig, type ConfigOptions, printSample, showEffective } from './commands/config.ts';
import { migrateSchema } from './commands/migrate.ts';
import { SERVICE_NAMES } from './sections.ts';

const program = new Command('cairn').description('Looks after Cairn.');
const config = program.command('config').description('what services are told at their start');

addConfigCommand('check', 'tells everything that is wrong', checkConfig);
addConfigCommand('show', 'prints the values in effect, without secrets', showEffective);
addConfigCommand('sample', 'prints a file with every key and its default', printSample);
addSources(program.command('migrate'))
  .description('brings the schema of Postgres up to date, as its owner')
  .action((flags: SourceFlags) => run(() => migrateSchema(flags)));
await program.parseAsync();

function addConfigCommand(
  name: string,
  description: string,
  command: (options: ConfigOptions) => string,
): void {
  addSources(config.command(name))
    .description(description)
    .addOption(new Option('--service <name>', 'as this one sees it').choices(SERVICE_NAMES))
    .action((options: ConfigOptions) => run(async () => command(options)));
}

function addSources(command: Command): Command {
  return command
    .option('--config <file>', 'TOML file; CAIRN_CONFIG names it, too')
    .option('--set <section.key=value>', 'one setting; may be repeated', collect, []);
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

/** Prints what a command gives; exit code 2 for a bad configuration, 1 for what else goes wrong. */
async function run(command: () => Promise<string>): Promise<void> {
  try {
    process.stdout.write(await command());
  } catch (error) {
    const problems = error instanceof ConfigError ? error.problems : [String(error)];
    for (const problem of problems) process.stderr.write(`cairn: ${problem}\n`);
    process.exitCode = error instanceof ConfigError ? 2 : 1;
  }
}
