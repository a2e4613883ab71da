import { answers } from '#shared/protocol/admin-answers.ts';
import type { DoorContext, Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { readCluster } from '#shared/store/leases.ts';

/** Who executes what: the executors that live, and the owner of each partition. */
export function clusterRoutes({ database }: ServiceDeps): readonly Route[] {
  return [
    {
      method: 'get',
      path: '/cluster',
      summary: 'Lists the executors and the owner of each partition.',
      answer: answers.cluster,
      rule: { permission: 'cluster_read' },
      handle: show,
    },
  ];

  async function show(context: DoorContext): Promise<void> {
    const { executors, partitions } = await readCluster(database);
    context.body = {
      data: {
        executors: executors.map(({ owner, startedAt, expiresAt }) => ({
          owner,
          startedAt: startedAt.getTime(),
          expiresAt: expiresAt.getTime(),
          partitions: partitions.filter((partition) => partition.owner === owner).length,
        })),
        partitions: partitions.map(({ partition, owner, epoch, expiresAt }) => ({
          partition,
          owner,
          epoch: epoch.toString(),
          expiresAt: expiresAt === null ? null : expiresAt.getTime(),
        })),
      },
    };
  }
}
