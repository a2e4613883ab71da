import type { ContextId } from './ids.ts';

/**
 * Everything that can be allowed, and where it is checked. One vocabulary for all doors.
 *
 * | permission             | lets its holder                                        | checked by |
 * | ---------------------- | ------------------------------------------------------ | ---------- |
 * | `application_read`     | list applications                                      | `/admin-api/applications` |
 * | `application_install`  | install and uninstall                                  | `/admin-api/install-application`, `…/install-dev-application`, `…/uninstall-application`, DELETE `/admin-api/applications/:id` |
 * | `blob_read`            | read and list blobs                                    | GET, HEAD `/admin-api/blobs` |
 * | `blob_write`           | store and delete blobs                                 | PUT, DELETE `/admin-api/blobs` |
 * | `context_create`       | create a context, join one, make an identity for it    | POST `/admin-api/contexts`, `…/join`, `/admin-api/identity/context` |
 * | `context_read`         | see a context, its members, its size, its aliases      | GET `/admin-api/contexts…`, `/admin-api/alias/…` |
 * | `context_history`      | see the raw log and state, also of the past and of others | GET `/admin-api/contexts/:id/log`, `…/state`, `…/diff`, `…/history` |
 * | `context_fork`         | make a context that goes on from the log of this one   | POST `/admin-api/contexts/:id/fork` |
 * | `context_query`        | query                                                  | `/jsonrpc`, `/ws` |
 * | `context_mutate`       | mutate and execute                                     | `/jsonrpc`, `/ws` |
 * | `context_play`         | run scripts of one's own, past the application         | `/jsonrpc` |
 * | `context_subscribe`    | subscribe                                              | `/ws`, `/sse` |
 * | `context_delete`       | delete a context                                       | DELETE `/admin-api/contexts/:id` |
 * | `context_upgrade`      | give a context another application                     | POST `/admin-api/contexts/:id/application` |
 * | `context_members`      | invite, grant and revoke capabilities                  | POST `/admin-api/contexts/invite`, `…/capabilities/…` |
 * | `context_audit`        | verify a log, rehearse with its data, prove what it holds | `/admin-api/contexts/:id/verify`, `…/rehearse`, `…/proof` |
 * | `alias_write`          | create and delete aliases                              | POST `/admin-api/alias/create`, `…/delete` |
 * | `identity_read`        | see keys and their history                             | GET `/admin-api/did`, `…/client-keys` |
 * | `identity_manage`      | add root keys, revoke keys                             | POST `/admin-api/root-key`, DELETE `/admin-api/did`, `/admin-api/identity/keys` |
 * | `token_create`         | make JWTs for identities of a context                  | POST `/admin-api/generate-jwt-token` |
 * | `cluster_read`         | see executors and who owns which partition             | GET `/admin-api/cluster` |
 * | `access_reload`        | read the access file again                             | POST `/admin-api/access/reload` |
 */
export const PERMISSIONS = [
  'application_read',
  'application_install',
  'blob_read',
  'blob_write',
  'context_create',
  'context_read',
  'context_history',
  'context_fork',
  'context_query',
  'context_mutate',
  'context_play',
  'context_subscribe',
  'context_delete',
  'context_upgrade',
  'context_members',
  'context_audit',
  'alias_write',
  'identity_read',
  'identity_manage',
  'token_create',
  'cluster_read',
  'access_reload',
] as const;

export type Permission = (typeof PERMISSIONS)[number];

/** What each method of `/jsonrpc` demands, on the context that it names. */
export const PERMISSION_OF_CALL = {
  query: 'context_query',
  mutate: 'context_mutate',
  execute: 'context_mutate',
  play: 'context_play',
} as const satisfies Record<string, Permission>;

/** Some permissions on some contexts; `'*'` is all. */
export interface Grant {
  readonly permissions: readonly Permission[] | '*';
  /** A grant on some contexts covers nothing that is about no context. */
  readonly contexts: readonly ContextId[] | '*';
}

/** Who makes a request, as every door's permission check sees it. */
export interface Principal {
  /** Written to the log beside what it did. */
  readonly id: string;
  readonly kind: 'admin-token' | 'open' | 'node-key' | 'client-key' | 'jwt' | 'anonymous';
  readonly grants: readonly Grant[];
  /** The only identity that it may act as, or null when it may choose. */
  readonly executorPublicKey: string | null;
  /** Unix time in milliseconds at which its credentials end; absent where they do not. */
  readonly expiresMs?: number;
}

export const UNRESTRICTED: readonly Grant[] = [{ permissions: '*', contexts: '*' }];

/** True when one of the principal's grants covers the permission, on that context if there is one. */
export function can(
  { grants }: Pick<Principal, 'grants'>,
  permission: Permission,
  contextId: ContextId | null = null,
): boolean {
  return grants.some(
    ({ permissions, contexts }) =>
      (permissions === '*' || permissions.includes(permission)) &&
      (contexts === '*' || (contextId !== null && contexts.includes(contextId))),
  );
}
