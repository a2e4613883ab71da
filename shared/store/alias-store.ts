import type { Database } from './database.ts';

export type AliasKind = 'context' | 'application' | 'identity';

/** Names within a kind; those of identities are within a context too. */
export interface AliasSpace {
  readonly kind: AliasKind;
  /** A context id for identities, else empty. */
  readonly scope: string;
}

/** False when the name is taken. */
export async function createAlias(
  database: Database,
  { kind, scope }: AliasSpace,
  alias: string,
  value: string,
): Promise<boolean> {
  const row = await database.kysely
    .insertInto('aliases')
    .values({ kind, scope, alias, value })
    .onConflict((conflict) => conflict.doNothing())
    .returning('alias')
    .executeTakeFirst();
  return row !== undefined;
}

export async function findAlias(
  database: Database,
  { kind, scope }: AliasSpace,
  alias: string,
): Promise<string | null> {
  const row = await database.kysely
    .selectFrom('aliases')
    .select('value')
    .where('kind', '=', kind)
    .where('scope', '=', scope)
    .where('alias', '=', alias)
    .executeTakeFirst();
  return row?.value ?? null;
}

export async function deleteAlias(
  database: Database,
  { kind, scope }: AliasSpace,
  alias: string,
): Promise<void> {
  await database.kysely
    .deleteFrom('aliases')
    .where('kind', '=', kind)
    .where('scope', '=', scope)
    .where('alias', '=', alias)
    .execute();
}

export async function listAliases(
  database: Database,
  { kind, scope }: AliasSpace,
): Promise<Record<string, string>> {
  const rows = await database.kysely
    .selectFrom('aliases')
    .select(['alias', 'value'])
    .where('kind', '=', kind)
    .where('scope', '=', scope)
    .orderBy('alias')
    .execute();
  return Object.fromEntries(rows.map(({ alias, value }) => [alias, value]));
}
