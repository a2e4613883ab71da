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
import { principalName } from './principal-names.ts';

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

  /** Every principal that the file names. */
  get principals(): readonly string[] {
    return [...this.#byPrincipal.keys()];
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
    const byRole = rolesOf(roles);
    let inherited: readonly Grant[] = [];
    let denied: readonly Permission[] = [];
    const ids = new Set<string>();
    const byPrincipal = new Map<string, { user: Block; grants: readonly Grant[] }>();
    for (const [i, user] of users.entries()) {
      within(nameOfUser(user), () => {
        const denials = user.deny.map(permissionOf);
        const grants = without(
          [...(user.bare ? [] : inherited), ...grantsWithRoles(user, byRole)],
          denials,
        );
        if (user.unrestricted && denials.length > 0) {
          fail('it is unrestricted, which leaves nothing to deny');
        }
        if (isDefault(user)) {
          demandDefault(user, i);
          inherited = grants;
          denied = denials;
          return;
        }
        if (ids.has(user.id ?? '')) fail('it is there twice');
        ids.add(user.id ?? '');
        if (user.principals.length === 0) fail('it has no principals: nobody would be it');
        for (const principal of user.principals.map(principalOf)) {
          if (byPrincipal.has(principal)) fail(`${principal} is named by two users`);
          byPrincipal.set(principal, { user, grants });
        }
      });
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
  const issues = parsed.error.issues.map(
    ({ path, message }) => `${placeOf(value, path)}: ${message}`,
  );
  return fail(issues.join('; '));
}

/** `user alice: principals` for the path of an issue, where the block has a name. */
function placeOf(value: unknown, path: readonly PropertyKey[]): string {
  const [kind = '', index, ...rest] = path.map(String);
  const blocks = (value as Record<string, unknown>)[kind];
  const block = Array.isArray(blocks) ? (blocks[Number(index)] as unknown) : blocks;
  const id = (block as { id?: unknown } | undefined)?.id;
  return typeof id === 'string' ? `${kind} ${id}: ${rest.join('.')}` : path.map(String).join('.');
}

function rolesOf(roles: readonly Block[]): ReadonlyMap<string, Block> {
  const byRole = new Map<string, Block>();
  for (const role of roles) {
    const id = role.id ?? fail('A role needs an id');
    within(`role ${id}`, () => {
      if (byRole.has(id)) fail('it is there twice');
      if (role.deny.length > 0) fail('Only users can have deny entries');
      if (role.principals.length > 0) fail('Only users can have principals');
      // What is wrong is wrong also in a role that nobody has.
      grantsOf(role);
    });
    byRole.set(id, role);
  }
  for (const [id, role] of byRole) within(`role ${id}`, () => grantsWithRoles(role, byRole));
  return byRole;
}

function grantsWithRoles(
  block: Block,
  byRole: ReadonlyMap<string, Block>,
  on: readonly string[] = [],
): Grant[] {
  const ofRoles = block.roles.flatMap((id) => {
    if (on.includes(id)) fail(`Role ${id} has itself among its roles`);
    return grantsWithRoles(byRole.get(id) ?? fail(`Unknown role: ${id}`), byRole, [...on, id]);
  });
  return [...ofRoles, ...(block.unrestricted ? UNRESTRICTED : []), ...grantsOf(block)];
}

function isDefault({ id }: Block): boolean {
  return id === undefined || id === '';
}

function demandDefault(user: Block, position: number): void {
  if (position > 0) {
    fail('Changes to the default user must appear before other users in the access config file');
  }
  if (user.principals.length > 0) fail('it has principals, but no id');
}

function nameOfUser(user: Block): string {
  return isDefault(user) ? 'default user' : `user ${user.id}`;
}

/** Whatever fails in there names the place. */
function within(place: string, look: () => void): void {
  try {
    look();
  } catch (error) {
    if (!(error instanceof AccessFileError)) throw error;
    throw new AccessFileError(`${place}: ${error.message}`, { cause: error });
  }
}

function principalOf(text: string): string {
  try {
    return principalName(text);
  } catch (error) {
    return fail(error instanceof Error ? error.message : `Not a principal: ${text}`);
  }
}

function grantsOf({ allow, contexts }: Block): Grant[] {
  const permissions = allow.map(permissionOf);
  const on = contexts === undefined ? '*' : contexts.map(contextOf);
  return permissions.length === 0 ? [] : [{ permissions, contexts: on }];
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
