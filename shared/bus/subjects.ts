import type { ContextId } from '#shared/domain/ids.ts';

/**
 * Every NATS subject of Cairn, and who owns it.
 *
 * | subject                       | kind          | answered or published by |
 * | ----------------------------- | ------------- | ------------------------ |
 * | cairn.v1.execute.<partition>  | request/reply | rpc-executor, the owner of the partition |
 * | cairn.v1.log.<context>        | notice        | rpc-executor, one per committed transaction in sequence order |
 * | cairn.v1.beacon.<partition>   | notice        | rpc-executor, heads that moved, once a second and at takeover |
 * | cairn.v1.partitions.changed   | notice        | rpc-executor, when it came or freed a partition |
 * | cairn.v1.auth.verify          | request/reply | auth, queue group `auth` |
 * | cairn.v1.auth.openapi         | request/reply | auth, the OpenAPI paths of its routes |
 * | cairn.v1.auth.changed         | notice        | auth, when keys or access rules changed |
 * | cairn.v1.auth.sign-head       | request/reply | auth, which has the node's key; signs heads of logs |
 * | cairn.v1.sync.start           | request/reply | sync, queue group `sync`; begins to verify or rehearse |
 * | cairn.v1.sync.job.<job>       | request/reply | sync, the replica that has the job |
 */
export const subjects = {
  execute: (partition: number): string => `cairn.v1.execute.${partition}`,
  log: (contextId: ContextId): string => `cairn.v1.log.${contextId}`,
  beacon: (partition: number): string => `cairn.v1.beacon.${partition}`,
  everyBeacon: 'cairn.v1.beacon.*',
  partitionOfBeacon: (subject: string): number =>
    Number(subject.slice(subject.lastIndexOf('.') + 1)),
  partitionsChanged: 'cairn.v1.partitions.changed',
  authVerify: 'cairn.v1.auth.verify',
  authOpenApi: 'cairn.v1.auth.openapi',
  authChanged: 'cairn.v1.auth.changed',
  authSignHead: 'cairn.v1.auth.sign-head',
  syncStart: 'cairn.v1.sync.start',
  syncJob: (job: string): string => `cairn.v1.sync.job.${job}`,
} as const;
