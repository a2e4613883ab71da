import { fieldsOf, type Sections } from './fields.ts';
import type { LoadedConfig } from './load-config.ts';

const WIDTH = 96;

/** A file with every key, commented out, its description and its default. */
export function sampleConfig(sections: Sections): string {
  return render(sections, ({ description, allowed, fallback, key, isSecret }) => {
    const isRequired = fallback === undefined;
    const file = isSecret ? ` ${key}File names a file of it instead.` : '';
    const state = isRequired ? ' Must be given.' : fallback === null ? ' Not set.' : '';
    const text = `${description}${file} Allowed: ${allowed}.${state}`;
    const value = isRequired || fallback === null ? '""' : tomlValue(fallback);
    return [...wrap(text), `# ${key} = ${value}`];
  });
}

/** The values in effect and where they come from, without secrets; a valid file but for these. */
export function showConfig<S extends Sections>(
  sections: S,
  { values, given }: LoadedConfig<S>,
): string {
  return render(sections, ({ section, key, isSecret }) => {
    const value = (values[section] as Readonly<Record<string, unknown>>)[key];
    const origin = given.get(`${section}.${key}`)?.origin ?? 'default';
    if (value === null || value === undefined) return [`# ${key} is not set`];
    const shown = isSecret ? '"[redacted]"' : tomlValue(withoutPasswords(value));
    return [`${key} = ${shown} # ${origin}`];
  });
}

function render(
  sections: Sections,
  linesOf: (field: ReturnType<typeof fieldsOf>[number]) => readonly string[],
): string {
  const fields = fieldsOf(sections);
  const blocks = Object.entries(sections).map(([name, schema]) => {
    const lines = fields.filter(({ section }) => section === name).flatMap(linesOf);
    const description = schema.description === undefined ? [] : wrap(schema.description);
    return [...description, `[${name}]`, ...lines, ''].join('\n');
  });
  return blocks.join('\n');
}

/** A URL may hold a password. */
function withoutPasswords(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  return value.replaceAll(/(\/\/[^/@:,\s]*):[^/@,\s]*@/g, '$1:[redacted]@');
}

/** JSON's texts, numbers and lists are TOML's, too; a table is an inline one. */
function tomlValue(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return JSON.stringify(value);
  }
  const pairs = Object.entries(value).map(
    ([key, entry]) => `${JSON.stringify(key)} = ${tomlValue(entry)}`,
  );
  return pairs.length === 0 ? '{}' : `{ ${pairs.join(', ')} }`;
}

function wrap(text: string): string[] {
  const lines: string[] = [];
  let line = '#';
  for (const word of text.split(' ')) {
    if (line.length + word.length + 1 > WIDTH) {
      lines.push(line);
      line = '#';
    }
    line += ` ${word}`;
  }
  return [...lines, line];
}
