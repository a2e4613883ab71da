import { parse, TomlError } from 'smol-toml';
import { closest } from '#shared/util/closest.ts';
import { environmentName, type Field } from './fields.ts';

/** A value that somebody gave, and where. */
export interface Given {
  readonly value: unknown;
  /** As it is named to people: a file, a variable or a flag. */
  readonly origin: string;
  /** True when it names the file that holds the value. */
  readonly isFile: boolean;
}

export interface ConfigFile {
  readonly path: string;
  readonly text: string;
}

/** What the sources are read against. */
export interface Known {
  readonly fields: readonly Field[];
  /** Sections of other processes that may be in the same file; they are not looked into. */
  readonly otherSections: readonly string[];
  readonly report: (problem: string) => void;
}

/** Values by `section.key`. */
export type Layer = ReadonlyMap<string, Given>;

/** The values of a TOML file: a table per section. */
export function readFileLayer({ path, text }: ConfigFile, known: Known): Layer {
  const layer = new Map<string, Given>();
  const document = parseToml({ path, text }, known);
  const sections = sectionNames(known);
  for (const [section, table] of Object.entries(document)) {
    if (known.otherSections.includes(section)) continue;
    if (!sections.includes(section)) {
      const hint = suggestion(section, [...sections, ...known.otherSections]);
      known.report(`${path}: unknown section [${section}]${hint}`);
    } else if (typeof table !== 'object' || table === null || Array.isArray(table)) {
      known.report(`${path}: [${section}] is a section, not a value`);
    } else {
      for (const [key, value] of Object.entries(table as Record<string, unknown>)) {
        const origin = `${path}: ${section}.${key}`;
        put(layer, known, { section, key, value, origin });
      }
    }
  }
  return layer;
}

/** The values of variables such as `CAIRN_HTTP__PORT`; an empty one is not set. */
export function readEnvironmentLayer(
  environment: Readonly<Record<string, string | undefined>>,
  known: Known,
): Layer {
  const layer = new Map<string, Given>();
  const places = new Map(
    known.fields.flatMap(({ section, key, isSecret }) => [
      [environmentName(section, key), { section, key }] as const,
      ...(isSecret
        ? [[environmentName(section, `${key}File`), { section, key: `${key}File` }] as const]
        : []),
    ]),
  );
  const foreign = known.otherSections.map((section) => environmentName(section, ''));
  for (const [name, value = ''] of Object.entries(environment)) {
    if (!/^CAIRN_.+__/.test(name) || value === '') continue;
    if (foreign.some((prefix) => name.startsWith(prefix))) continue;
    const place = places.get(name);
    const origin = `environment variable ${name}`;
    if (place !== undefined) put(layer, known, { ...place, value, origin, isText: true });
    else known.report(`${origin} is unknown${suggestion(name, [...places.keys()])}`);
  }
  return layer;
}

/** The values of flags such as `--set http.port=8080`. */
export function readFlagLayer(flags: readonly string[], known: Known): Layer {
  const layer = new Map<string, Given>();
  const sections = sectionNames(known);
  for (const flag of flags) {
    const [, section = '', key = '', value = ''] = /^([^.=]+)\.([^.=]+)=(.*)$/s.exec(flag) ?? [];
    const origin = `--set ${section}.${key}`;
    if (section === '') known.report(`--set ${flag}: it is given as section.key=value`);
    else if (!sections.includes(section)) {
      known.report(`${origin}: unknown section${suggestion(section, sections)}`);
    } else put(layer, known, { section, key, value, origin, isText: true });
  }
  return layer;
}

interface Placed {
  readonly section: string;
  readonly key: string;
  readonly value: unknown;
  readonly origin: string;
  /** The source knows nothing but text. */
  readonly isText?: boolean;
}

function put(layer: Map<string, Given>, known: Known, placed: Placed): void {
  const { section, key, value, origin, isText = false } = placed;
  const fields = known.fields.filter((field) => field.section === section);
  const field = fields.find((candidate) => candidate.key === key);
  const secret = fields.find((candidate) => candidate.isSecret && `${candidate.key}File` === key);
  const target = field ?? secret;
  if (target === undefined) {
    const keys = fields.map((candidate) => candidate.key);
    const allowed = `[${section}] has ${keys.join(', ')}`;
    known.report(`${origin}: unknown key${suggestion(key, keys)}; ${allowed}`);
    return;
  }
  const place = `${section}.${target.key}`;
  if (layer.has(place)) {
    known.report(`${origin}: ${place} is given already by ${layer.get(place)?.origin}`);
    return;
  }
  const isFile = field === undefined;
  const parsed = isText && !isFile ? parseText(target, String(value)) : value;
  layer.set(place, { value: parsed, origin, isFile });
}

/** A text that is none of the field's values stays a text, which its schema then refuses. */
function parseText({ kind }: Field, text: string): unknown {
  switch (kind) {
    case 'integer':
      return /^-?\d+$/.test(text) ? Number(text) : text;
    case 'number':
      return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text;
    case 'boolean':
      return text === 'true' || (text === 'false' ? false : text);
    case 'list':
      return text.startsWith('[') ? parseJson(text) : text.split(',').map((item) => item.trim());
    case 'table':
      return parseJson(text);
    case 'text':
      return text;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function parseToml({ path, text }: ConfigFile, known: Known): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    const [reason = ''] = error.message.split('\n');
    known.report(`${path}, line ${error.line}: ${reason}`);
    return {};
  }
}

function sectionNames({ fields }: Known): readonly string[] {
  return [...new Set(fields.map(({ section }) => section))];
}

function suggestion(word: string, candidates: readonly string[]): string {
  const near = closest(word, candidates);
  return near === null ? '' : `: did you mean ${near}?`;
}
