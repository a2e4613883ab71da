import type { ContextId } from '#shared/domain/ids.ts';

/**
 * Every NATS subject of Cairn, and who owns it.
 *
 * | subject                       | kind          | answered or published by |
 * | ----------------------------- | ------------- | ------------------------ |
 * | cairn.v1.execute.<partition>  | request/reply | rpc-executor, the owner of the partition |
 * | cairn.v1.log.<context>        | notice        | rpc-executor, one per committed transaction in sequence order |
 * | cairn.v1.beacon.<partition>   | notice        | rpc-executor, heads that moved, once a second and at takeover |
 * | cairn.v1.auth.verify          | request/reply | auth, queue group `auth` |
 * | cairn.v1.auth.openapi         | request/reply | auth, the OpenAPI paths of its routes |
 * | cairn.v1.auth.changed         | notice        | auth, when keys or access rules changed |
 */
export const subjects = {
  execute: (partition: number): string => `cairn.v1.execute.${partition}`,
  log: (contextId: ContextId): string => `cairn.v1.log.${contextId}`,
  beacon: (partition: number): string => `cairn.v1.beacon.${partition}`,
  everyBeacon: 'cairn.v1.beacon.*',
  partitionOfBeacon: (subject: string): number =>
    Number(subject.slice(subject.lastIndexOf('.') + 1)),
  authVerify: 'cairn.v1.auth.verify',
  authOpenApi: 'cairn.v1.auth.openapi',
  authChanged: 'cairn.v1.auth.changed',
} as const;
