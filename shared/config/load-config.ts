import { readFileSync } from 'node:fs';
import type { z } from 'zod';
import { environmentName, type Field, fieldsOf, type Section, type Sections } from './fields.ts';
import { SECTION_NAMES } from './sections.ts';
import {
  type ConfigFile,
  type Given,
  type Known,
  type Layer,
  readEnvironmentLayer,
  readFileLayer,
  readFlagLayer,
} from './sources.ts';

/** Where the configuration comes from; what comes later here wins. */
export interface ConfigSources {
  readonly file: ConfigFile | null;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** `section.key=value` each. */
  readonly flags: readonly string[];
}

export type ConfigOf<S extends Sections> = { readonly [Name in keyof S]: z.output<S[Name]> };

export interface LoadedConfig<S extends Sections> {
  readonly values: ConfigOf<S>;
  /** What somebody gave, by `section.key`; the others are defaults. */
  readonly given: Layer;
}

/** All that is wrong with a configuration, one line each. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

/** Reads the sections that a process uses. Throws ConfigError with every problem found. */
export function loadConfig<S extends Sections>(
  sections: S,
  { file, environment, flags }: ConfigSources,
): LoadedConfig<S> {
  const problems: string[] = [];
  const known: Known = {
    fields: fieldsOf(sections),
    otherSections: SECTION_NAMES.filter((name) => !(name in sections)),
    report: (problem) => problems.push(problem),
  };
  const layers: readonly Layer[] = [
    ...(file === null ? [] : [readFileLayer(file, known)]),
    readEnvironmentLayer(environment, known),
    readFlagLayer(flags, known),
  ];
  const given = new Map<string, Given>();
  for (const layer of layers) {
    for (const [place, value] of layer) given.set(place, resolveFile(value, known));
  }
  const values = Object.entries(sections).map(
    ([name, schema]) => [name, parseSection(name, schema, { given, known })] as const,
  );
  if (problems.length > 0) throw new ConfigError(problems);
  return { values: Object.fromEntries(values) as ConfigOf<S>, given };
}

function parseSection(
  section: string,
  schema: Section,
  { given, known }: { readonly given: Layer; readonly known: Known },
): unknown {
  const fields = known.fields.filter((field) => field.section === section);
  const raw = fields.flatMap(({ key }) => {
    const found = given.get(`${section}.${key}`);
    return found === undefined ? [] : [[key, found.value]];
  });
  const parsed = schema.safeParse(Object.fromEntries(raw));
  if (parsed.success) return parsed.data;
  const issues = new Map(parsed.error.issues.map((issue) => [String(issue.path[0] ?? ''), issue]));
  for (const [key, { code, message }] of issues) {
    const field = fields.find((candidate) => candidate.key === key);
    const reason = code === 'custom' ? message : null;
    if (field === undefined) known.report(`[${section}]: ${message}`);
    else known.report(describeProblem(field, given.get(`${section}.${key}`), reason));
  }
  return null;
}

/** A value that names a file is what stands in the file, without the line's end. */
function resolveFile(given: Given, known: Known): Given {
  if (!given.isFile) return given;
  try {
    const path = String(given.value);
    return { ...given, value: readFileSync(path, 'utf8').trim() };
  } catch (error) {
    const { code = 'unknown failure' } = error as NodeJS.ErrnoException;
    known.report(`${given.origin}: the file ${String(given.value)} cannot be read (${code})`);
    return given;
  }
}

function describeProblem(field: Field, given: Given | undefined, reason: string | null): string {
  const { section, key, allowed, isSecret } = field;
  const place = `${section}.${key}`;
  if (given === undefined) {
    const names = isSecret ? [key, `${key}File`] : [key];
    const variables = names.map((name) => environmentName(section, name)).join(' or ');
    return `${place} is missing: set ${names.join(' or ')} in [${section}] of the file, ${variables}, or --set ${place}=…; allowed: ${allowed}`;
  }
  const value = isSecret ? 'the value' : JSON.stringify(given.value);
  return `${given.origin}: ${value} cannot be used; ${reason ?? `allowed: ${allowed}`}`;
}
