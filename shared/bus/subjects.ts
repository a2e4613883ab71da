import type { ContextId } from '#shared/domain/ids.ts';

/** Whoever connects to the bus, by the name of its user. */
export const BUS_USERS = ['auth', 'admin', 'rpc-executor', 'subscription-fanout', 'sync'] as const;

type BusUser = (typeof BUS_USERS)[number];

interface Subject {
  /** `*` stands for one token. */
  readonly subject: string;
  /** A request has one answer; a notice is for whoever listens. */
  readonly kind: 'request' | 'notice';
  /** Who sends it. */
  readonly from: readonly BusUser[];
  /** Who answers it, or listens. */
  readonly to: readonly BusUser[];
  readonly what: string;
}

const DOORS = ['auth', 'admin', 'rpc-executor', 'subscription-fanout'] as const;

/** Every NATS subject of Cairn. Nobody may do on the bus what does not stand here. */
export const SUBJECTS: readonly Subject[] = [
  {
    subject: 'cairn.v1.execute.*',
    kind: 'request',
    from: ['admin', 'rpc-executor', 'subscription-fanout'],
    to: ['rpc-executor'],
    what: 'Runs a call; the owner of the partition, which the last token is, answers.',
  },
  {
    subject: 'cairn.v1.executor.*',
    kind: 'request',
    from: ['admin', 'rpc-executor', 'subscription-fanout'],
    to: ['rpc-executor'],
    what: 'Runs a call, of whatever partition; the executor of that id answers.',
  },
  {
    subject: 'cairn.v1.log.*',
    kind: 'notice',
    from: ['rpc-executor'],
    to: ['subscription-fanout'],
    what: 'A transaction was committed; one for each, in the order of its context.',
  },
  {
    subject: 'cairn.v1.beacon.*',
    kind: 'notice',
    from: ['rpc-executor'],
    to: ['subscription-fanout'],
    what: 'Heads of a partition that moved; once a second, and at takeover.',
  },
  {
    subject: 'cairn.v1.sse.*',
    kind: 'notice',
    from: ['subscription-fanout'],
    to: ['subscription-fanout'],
    what: 'What a session of server-sent events listens to changed, or another stream has it.',
  },
  {
    subject: 'cairn.v1.partitions.changed',
    kind: 'notice',
    from: ['rpc-executor'],
    to: ['rpc-executor'],
    what: 'An executor came, or freed a partition.',
  },
  {
    subject: 'cairn.v1.auth.verify',
    kind: 'request',
    from: DOORS,
    to: ['auth'],
    what: 'Who is a caller; one of the replicas answers.',
  },
  {
    subject: 'cairn.v1.auth.openapi',
    kind: 'request',
    from: ['admin'],
    to: ['auth'],
    what: 'The OpenAPI paths of the routes of auth.',
  },
  {
    subject: 'cairn.v1.auth.changed',
    kind: 'notice',
    from: ['auth'],
    to: DOORS,
    what: 'Keys or access rules changed.',
  },
  {
    subject: 'cairn.v1.auth.sign-head',
    kind: 'request',
    from: ['admin'],
    to: ['auth'],
    what: 'Signs the head of a log with the key of the node, which auth has.',
  },
  {
    subject: 'cairn.v1.sync.start',
    kind: 'request',
    from: ['admin'],
    to: ['sync'],
    what: 'Begins to verify or rehearse; one of the replicas answers.',
  },
  {
    subject: 'cairn.v1.sync.job.*',
    kind: 'request',
    from: ['admin'],
    to: ['sync'],
    what: 'About a job; the replica that has it answers.',
  },
];

export const subjects = {
  execute: (partition: number): string => `cairn.v1.execute.${partition}`,
  executor: (id: string): string => `cairn.v1.executor.${id}`,
  log: (contextId: ContextId): string => `cairn.v1.log.${contextId}`,
  beacon: (partition: number): string => `cairn.v1.beacon.${partition}`,
  everyBeacon: 'cairn.v1.beacon.*',
  partitionOfBeacon: (subject: string): number =>
    Number(subject.slice(subject.lastIndexOf('.') + 1)),
  sseSession: (sessionId: string): string => `cairn.v1.sse.${sessionId}`,
  partitionsChanged: 'cairn.v1.partitions.changed',
  authVerify: 'cairn.v1.auth.verify',
  authOpenApi: 'cairn.v1.auth.openapi',
  authChanged: 'cairn.v1.auth.changed',
  authSignHead: 'cairn.v1.auth.sign-head',
  syncStart: 'cairn.v1.sync.start',
  syncJob: (job: string): string => `cairn.v1.sync.job.${job}`,
} as const;

/** Where the answers to the requests of a service come in; nobody else may listen there. */
export function inboxPrefixOf(user: string): string {
  return `_INBOX_${user}`;
}
