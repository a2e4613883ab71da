import { parse as parseToml, TomlError } from 'smol-toml';
import { z } from 'zod';
import type { ContextId } from '#shared/domain/ids.ts';
import {
  type Grant,
  PERMISSIONS,
  type Permission,
  UNRESTRICTED,
} from '#shared/domain/permissions.ts';
import { parseContextId } from '#shared/protocol/ids.ts';

/** The access file says something that it may not say. */
export class AccessFileError extends Error {
  override readonly name = 'AccessFileError';
}

/** A list of names: a TOML array, or one string with commas. */
const list = z
  .union([z.array(z.string()), z.string()])
  .transform((text) =>
    (typeof text === 'string' ? text.split(',') : text).map((name) => name.trim()).filter(Boolean),
  );
const names = list.default([]);

const blockSchema = z.strictObject({
  id: z.string().optional(),
  /** Of a user: the principals that it stands for, such as `client-key:…`, `identity:…`, `jwt:…`. */
  principals: names,
  roles: names,
  allow: names,
  deny: names,
  /** The contexts that `allow` is about; all of them when it is left out. */
  contexts: list.optional(),
  /** Gets nothing from the default user. */
  bare: z.boolean().default(false),
  unrestricted: z.boolean().default(false),
});
const oneOrMore = z.preprocess(
  (blocks): unknown => (Array.isArray(blocks) ? blocks : [blocks]),
  z.array(blockSchema),
);
const fileSchema = z.strictObject({ role: oneOrMore.default([]), user: oneOrMore.default([]) });

type Block = z.output<typeof blockSchema>;

/** Built-in grants of a principal, or those that an access file gives it instead. */
export class AccessRules {
  readonly anonymous: readonly Grant[];
  readonly #deniedToAll: readonly Permission[];
  readonly #byPrincipal: ReadonlyMap<
    string,
    { readonly user: Block; readonly grants: readonly Grant[] }
  >;

  private constructor(
    anonymous: readonly Grant[],
    deniedToAll: readonly Permission[],
    byPrincipal: ReadonlyMap<string, { readonly user: Block; readonly grants: readonly Grant[] }>,
  ) {
    this.anonymous = anonymous;
    this.#deniedToAll = deniedToAll;
    this.#byPrincipal = byPrincipal;
  }

  /** No file: nobody has more than the built-in grants, and the anonymous have none. */
  static readonly none = new AccessRules([], [], new Map());

  /**
   * Reads an access file. Roles and users come in any order, except that changes to the default
   * user (the one without `id`) come first, because the others inherit from it. Throws
   * AccessFileError with a reason to act on.
   */
  static parse(text: string): AccessRules {
    const { role: roles, user: users } = read(text);
    const byRole = new Map<string, Block>();
    for (const role of roles) {
      const id = role.id ?? fail('A role needs an id');
      if (byRole.has(id)) fail(`Role ${id} is there twice`);
      if (role.deny.length > 0) fail('Only users can have deny entries');
      byRole.set(id, role);
    }
    const own = (block: Block): Grant[] => [
      ...block.roles.flatMap((id) => own(byRole.get(id) ?? fail(`Unknown role: ${id}`))),
      ...(block.unrestricted ? UNRESTRICTED : []),
      ...grantsOf(block),
    ];
    let inherited: readonly Grant[] = [];
    let denied: readonly Permission[] = [];
    const ids = new Set<string>();
    const byPrincipal = new Map<string, { user: Block; grants: readonly Grant[] }>();
    for (const [i, user] of users.entries()) {
      const grants = without(
        [...(user.bare ? [] : inherited), ...own(user)],
        user.deny.map(permissionOf),
      );
      if (user.unrestricted && user.deny.length > 0) {
        fail(`User ${user.id ?? '(default)'} is unrestricted, which leaves nothing to deny`);
      }
      if (user.id === undefined || user.id === '') {
        if (i > 0) {
          fail(
            'Changes to the default user must appear before other users in the access config file',
          );
        }
        inherited = grants;
        denied = user.deny.map(permissionOf);
        continue;
      }
      if (ids.has(user.id)) fail(`User ${user.id} is there twice`);
      ids.add(user.id);
      for (const principal of user.principals) {
        if (byPrincipal.has(principal)) fail(`${principal} is named by two users`);
        byPrincipal.set(principal, { user, grants });
      }
    }
    return new AccessRules(inherited, denied, byPrincipal);
  }

  /**
   * What a principal may do, known by several names: its built-in grants and what the file adds;
   * `bare` takes the built-in ones away, `deny` holds against all.
   */
  grantsFor(principals: readonly string[], builtIn: readonly Grant[]): readonly Grant[] {
    const rules = principals.flatMap((name) => this.#byPrincipal.get(name) ?? []);
    const isBare = rules.some(({ user }) => user.bare);
    const denied = rules.flatMap(({ user }) => user.deny.map(permissionOf));
    if (!isBare) denied.push(...this.#deniedToAll);
    const added = rules.length === 0 ? this.anonymous : rules.flatMap(({ grants }) => grants);
    return without([...(isBare ? [] : builtIn), ...added], denied);
  }
}

function read(text: string): z.output<typeof fileSchema> {
  let value: unknown;
  try {
    value = parseToml(text);
  } catch (error) {
    if (error instanceof TomlError) return fail(error.message);
    throw error;
  }
  const parsed = fileSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  return fail(
    parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '),
  );
}

function grantsOf({ allow, contexts }: Block): Grant[] {
  if (allow.length === 0) return [];
  const permissions = allow.map(permissionOf);
  return [{ permissions, contexts: contexts === undefined ? '*' : contexts.map(contextOf) }];
}

function without(grants: readonly Grant[], denied: readonly Permission[]): readonly Grant[] {
  if (denied.length === 0) return grants;
  return grants.map(({ permissions, contexts }) => ({
    permissions: (permissions === '*' ? PERMISSIONS : permissions).filter(
      (permission) => !denied.includes(permission),
    ),
    contexts,
  }));
}

function permissionOf(name: string): Permission {
  const known = PERMISSIONS.find((permission) => permission === name);
  return known ?? fail(`Unknown permission: ${name}`);
}

function contextOf(text: string): ContextId {
  try {
    return parseContextId(text);
  } catch {
    return fail(`Not a context id: ${text}`);
  }
}

function fail(reason: string): never {
  throw new AccessFileError(reason);
}
