import { z } from 'zod';

/** The schema of one section of the configuration. */
export type Section = z.ZodObject;
/** Sections by the name that they have in the file. */
export type Sections = Readonly<Record<string, Section>>;

/** One key of a section, as its schema describes it. */
export interface Field {
  readonly section: string;
  readonly key: string;
  readonly description: string;
  readonly kind: 'integer' | 'number' | 'boolean' | 'text' | 'list' | 'table';
  /** What may be written, in words. */
  readonly allowed: string;
  /** Undefined when it must be given; null when it may be left out. */
  readonly fallback: unknown;
  readonly isSecret: boolean;
}

interface Property {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly anyOf?: readonly Property[];
  readonly secret?: boolean;
  readonly form?: string;
}

/** Every key of the sections, in the order of their schemas. */
export function fieldsOf(sections: Sections): readonly Field[] {
  return Object.entries(sections).flatMap(([section, schema]) => {
    const { properties = {}, required = [] } = z.toJSONSchema(schema, {
      io: 'input',
      unrepresentable: 'any',
    });
    return Object.entries(properties).map(([key, property]): Field => {
      const described = flatten(property as Property);
      return {
        section,
        key,
        description: described.description ?? '',
        kind: kindOf(described),
        allowed: allowedBy(described),
        fallback: required.includes(key) ? undefined : (described.default ?? null),
        isSecret: described.secret ?? false,
      };
    });
  });
}

/** `CAIRN_RPC_EXECUTOR__LEASE_VALID_MS` for `rpc-executor` and `leaseValidMs`. */
export function environmentName(section: string, key: string): string {
  const upper = (name: string) =>
    name
      .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
      .replaceAll('-', '_')
      .toUpperCase();
  return `CAIRN_${upper(section)}__${upper(key)}`;
}

/** A nullable field is described by what it is besides null. */
function flatten(property: Property): Property {
  const inner = property.anyOf?.find(({ type }) => type !== 'null');
  return inner === undefined ? property : { ...inner, ...property };
}

function kindOf({ type }: Property): Field['kind'] {
  const types = typeof type === 'string' ? [type] : (type ?? []);
  if (types.includes('integer')) return 'integer';
  if (types.includes('number')) return 'number';
  if (types.includes('boolean')) return 'boolean';
  if (types.includes('array')) return 'list';
  return types.includes('object') ? 'table' : 'text';
}

const INTEGER_MAX = Number.MAX_SAFE_INTEGER;

function allowedBy(property: Property): string {
  if (property.form !== undefined) return property.form;
  if (property.enum !== undefined) return `one of ${property.enum.join(', ')}`;
  switch (kindOf(property)) {
    case 'integer':
    case 'number': {
      const noun = kindOf(property) === 'integer' ? 'a whole number' : 'a number';
      const { minimum = -INTEGER_MAX, maximum = INTEGER_MAX } = property;
      if (maximum < INTEGER_MAX) return `${noun} from ${minimum} to ${maximum}`;
      return `${noun} of at least ${minimum}`;
    }
    case 'boolean':
      return 'true or false';
    case 'list':
      return 'a list of texts';
    case 'table':
      return 'a table of texts';
    case 'text':
      return 'a text';
  }
}
