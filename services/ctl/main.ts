#!/usr/bin/env node
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { ConfigError } from '#shared/config/load-config.ts';
import type { SourceFlags } from '#shared/config/program-arguments.ts';
import { stopSignal } from '#shared/service/stop-signal.ts';
import {
  type ConfigOptions,
  checkConfig,
  printNats,
  printSample,
  showEffective,
} from './commands/config.ts';
import { migrateSchema } from './commands/migrate.ts';
import { CommandError } from './node-client.ts';
import { getProof, verifyProofFile } from './proof.ts';
import { replay } from './replay.ts';
import { SERVICE_NAMES } from './sections.ts';

/** `cairn`, the command line. Exit codes: 0 yes, 1 no, 2 it could not be found out. */
const FAILED = 2;
const CODES = 'Exit code: 0 when it is as it should be, 1 when it is not, 2 when nobody can say.';

const program = new Command('cairn')
  .description('Looks after a Cairn node.')
  .addOption(new Option('--url <url>', 'where the node is').env('CAIRN_URL'))
  .addOption(new Option('--token <token>', 'the admin token of its banner').env('CAIRN_TOKEN'))
  .option('--data <directory>', 'the data directory of a node of this machine', '.cairn')
  .showHelpAfterError('cairn --help tells all commands')
  .exitOverride();

program
  .command('verify <context>')
  .description('runs the log of a context again and compares everything')
  .option('--from <sequence>', 'the first transaction', parseSequence)
  .option('--to <sequence>', 'the last transaction', parseSequence)
  .option('--json', 'print the result as JSON', false)
  .addHelpText('after', `\n${CODES}`)
  .action(async (context: string, options: ReplayFlags) => {
    const { from, to } = options;
    await exitWith(replay('verify', context, { from, to }, replayOptions(options)));
  });

program
  .command('rehearse <context>')
  .description('runs the log of a context with another application, writing nothing')
  .requiredOption('--application <id>', 'the application to run it with')
  .option('--from <sequence>', 'the first transaction', parseSequence)
  .option('--to <sequence>', 'the last transaction', parseSequence)
  .option('--migration <method>', 'run this migration on the state instead of transactions')
  .option('--json', 'print the result as JSON', false)
  .addHelpText('after', `\n${CODES}`)
  .action(async (context: string, options: ReplayFlags & RehearseFlags) => {
    const { application: applicationId, from, to, migration: migrationMethod } = options;
    const body = { applicationId, from, to, migrationMethod };
    await exitWith(replay('rehearse', context, body, replayOptions(options)));
  });

const proof = program.command('proof').description('proofs that hold without any node');

proof
  .command('get <context> <sequence>')
  .description('gets the proof that a log holds a transaction')
  .option('--output <file>', 'write it to a file')
  .action(async (context: string, sequence: string, { output }: { output?: string }) => {
    const options = { ...nodeOptions(), ...(output !== undefined && { output }) };
    await exitWith(getProof(context, parseSequence(sequence), options));
  });

proof
  .command('verify <file>')
  .description('verifies a proof, offline')
  .requiredOption('--node-key <key>', 'public key of the node, from its banner')
  .option('--context <id>', 'the context that it must be about')
  .option('--json', 'print the result as JSON', false)
  .addHelpText('after', `\n${CODES}`)
  .action(async (file: string, options: { nodeKey: string; context?: string; json: boolean }) => {
    await exitWith(verifyProofFile(file, options));
  });

const config = program.command('config').description('what services are told at their start');

addConfigCommand('check', 'tells everything that is wrong', checkConfig);
addConfigCommand('show', 'prints the values in effect, without secrets', showEffective);
addConfigCommand('sample', 'prints a file with every key and its default', printSample);
config
  .command('nats')
  .description('prints the configuration of NATS, with what each service may do there')
  .action(() => print(async () => printNats()));
addSources(program.command('migrate'))
  .description('brings the schema of Postgres up to date, as its owner')
  .action((flags: SourceFlags) => print(() => migrateSchema(flags)));

interface ReplayFlags {
  from?: string;
  to?: string;
  json: boolean;
}

interface RehearseFlags {
  application: string;
  migration?: string;
}

try {
  await program.parseAsync();
} catch (error) {
  // commander has written what is wrong, or the help that was asked for.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : FAILED;
  else {
    const isExpected = error instanceof CommandError;
    const text = isExpected || !(error instanceof Error) ? String(error) : (error.stack ?? '');
    process.stderr.write(`cairn: ${isExpected ? error.message : text}\n`);
    process.exitCode = FAILED;
  }
}

async function exitWith(code: Promise<number>): Promise<void> {
  process.exitCode = await code;
}

function nodeOptions(): { url?: string; token?: string; data: string } {
  return program.opts<{ url?: string; token?: string; data: string }>();
}

function replayOptions({ json }: ReplayFlags) {
  return { ...nodeOptions(), json, signal: stopSignal(['SIGINT', 'SIGTERM']) };
}

function parseSequence(text: string): string {
  if (/^[1-9]\d{0,18}$/.test(text)) return text;
  throw new InvalidArgumentError('a sequence is a number from 1 on');
}

function addConfigCommand(
  name: string,
  description: string,
  command: (options: ConfigOptions) => string,
): void {
  addSources(config.command(name))
    .description(description)
    .addOption(new Option('--service <name>', 'as this one sees it').choices(SERVICE_NAMES))
    .action((options: ConfigOptions) => print(async () => command(options)));
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
async function print(command: () => Promise<string>): Promise<void> {
  try {
    process.stdout.write(await command());
  } catch (error) {
    const problems = error instanceof ConfigError ? error.problems : [String(error)];
    for (const problem of problems) process.stderr.write(`cairn: ${problem}\n`);
    process.exitCode = error instanceof ConfigError ? 2 : 1;
  }
}
