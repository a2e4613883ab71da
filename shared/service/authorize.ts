import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { can, type Permission, type Principal } from '#shared/domain/permissions.ts';

/** Throws AppError `unauthorized` for a caller without credentials, `forbidden` for any other. */
export function authorize(
  principal: Principal,
  permission: Permission,
  contextId: ContextId | null = null,
): void {
  if (can(principal, permission, contextId)) return;
  demandCredentials(principal);
  const where = contextId === null ? '' : ` on context ${contextId}`;
  throw new AppError('forbidden', `${principal.id} lacks the permission ${permission}${where}`, {
    permission,
    ...(contextId === null ? {} : { contextId }),
  });
}

/** Throws AppError `unauthorized` for a caller without credentials. */
export function demandCredentials({ kind }: Principal): void {
  if (kind !== 'anonymous') return;
  throw new AppError(
    'unauthorized',
    'a valid token is needed: send "Authorization: Bearer <token>", or ?token=<token>',
  );
}

/** Like `authorize`, for whoever has the permission on any context at all. */
export function authorizeSomewhere(principal: Principal, permission: Permission): void {
  if (!isAllowedSomewhere(principal, permission)) authorize(principal, permission);
}

/** True for whoever has the permission on any context at all. */
export function isAllowedSomewhere({ grants }: Principal, permission: Permission): boolean {
  return grants.some(
    ({ permissions, contexts }) =>
      (permissions === '*' || permissions.includes(permission)) && contexts.length > 0,
  );
}
