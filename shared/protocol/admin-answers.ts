import { z } from 'zod';
import { jobSchema } from './audit-api.ts';
import { ENGINES } from '#shared/domain/engine.ts';
import { differenceSchema, entrySchema, keyChangeSchema, loggedSchema } from './history-api.ts';

/** What the routes of the Admin API answer with: tests hold real answers against these. */

const id = z.string();
const data = <T extends z.ZodType>(schema: T) => z.object({ data: schema });
const nothing = data(z.null());
const sequence = z.string();
/** What to ask next with; null at the end. */
const cursor = z.string().nullable();
const bytes = z.array(z.int().min(0).max(255));

const application = z.object({
  id,
  blob: id,
  size: z.int(),
  source: z.string(),
  metadata: bytes,
  engine: z.enum(ENGINES),
});
const forkedFrom = z.object({ contextId: id, sequence });
const context = z.object({
  id,
  applicationId: id,
  lastTransactionHash: id,
  rootHash: id,
  forkedFrom: forkedFrom.optional(),
});
const applicationId = data(z.object({ applicationId: id, application_id: id }));
const membership = z.object({
  contextId: id,
  context_id: id,
  memberPublicKey: id,
  member_public_key: id,
});
const blob = z.object({ blob_id: id, blobId: id, size: z.int() });
const clientKey = z.object({
  wallet: z.looseObject({ type: z.string() }),
  signingKey: z.string(),
  /** Unix milliseconds. */
  createdAt: z.number(),
  contextId: id.nullable(),
});
const tokens = data(z.object({ access_token: z.string(), refresh_token: z.string() }));

const signedHead = z.object({
  contextId: id,
  size: z.string(),
  root: z.string(),
  lastSeal: z.string(),
  /** Unix milliseconds. */
  timeMs: z.int(),
  nodeKey: id,
  signature: z.string(),
});
/** Times are Unix milliseconds. */
const cluster = z.object({
  executors: z.array(
    z.object({
      owner: z.string(),
      startedAt: z.number(),
      expiresAt: z.number(),
      partitions: z.int(),
    }),
  ),
  partitions: z.array(
    z.object({
      partition: z.int(),
      /** Null while nobody has it. */
      owner: z.string().nullable(),
      epoch: z.string(),
      expiresAt: z.number().nullable(),
    }),
  ),
});

export const answers = {
  cluster: data(cluster),
  nothing,
  reloaded: data(z.object({ warnings: z.array(z.string()) })),
  status: data(z.object({ status: z.literal('alive') })),
  applicationId,
  application: data(application.extend({ application })),
  applicationOrNull: data(z.object({ application: application.nullable() })),
  applications: data(z.object({ apps: z.array(application) })),
  membership: data(membership),
  joined: data(membership.nullable()),
  context: data(context.extend({ context })),
  contexts: data(z.object({ contexts: z.array(context) })),
  fork: data(membership.extend({ forkedFrom })),
  log: data(
    z.object({ contextId: id, head: sequence, transactions: z.array(loggedSchema), next: cursor }),
  ),
  state: data(z.object({ contextId: id, sequence, entries: z.array(entrySchema), next: cursor })),
  difference: data(
    z.object({
      contextId: id,
      from: sequence,
      to: sequence,
      differences: z.array(differenceSchema),
      next: cursor,
    }),
  ),
  keyHistory: data(
    z.object({
      contextId: id,
      key: z.string(),
      keyText: z.string().optional(),
      changes: z.array(keyChangeSchema),
      next: cursor,
    }),
  ),
  deleted: data(z.object({ isDeleted: z.boolean() })),
  storage: data(z.object({ sizeInBytes: z.int() })),
  users: data(
    z.object({ contextUsers: z.array(z.object({ publicKey: id, isOwned: z.boolean() })) }),
  ),
  identities: data(z.object({ identities: z.array(id) })),
  capabilities: data(
    z.object({
      members: z.array(z.object({ publicKey: id, capabilities: z.array(z.string()) })),
    }),
  ),
  clientKeys: data(z.object({ clientKeys: z.array(clientKey) })),
  identity: data(z.object({ publicKey: id, privateKey: z.string() })),
  invitation: data(z.string()),
  bareNull: z.null(),
  blob: data(blob),
  blobs: data(z.object({ blobs: z.array(blob) })),
  deletedBlob: z.object({ blob_id: id, blobId: id, deleted: z.literal(true) }),
  aliasValue: data(z.object({ value: z.string().nullable() })),
  aliases: data(z.record(z.string(), z.string())),
  peers: z.object({ count: z.int() }),
  job: data(jobSchema),
  proof: z.object({
    format: z.literal('cairn-proof'),
    version: z.literal(1),
    transaction: z.looseObject({ contextId: id, sequence: z.string(), hash: id }),
    priorSeal: z.string(),
    path: z.array(z.string()),
    head: signedHead,
  }),
  consistencyProof: z.object({
    format: z.literal('cairn-consistency-proof'),
    version: z.literal(1),
    from: z.string(),
    path: z.array(z.string()),
    head: signedHead,
  }),
  nodeKey: data(z.object({ nodeKey: id })),
  challenge: data(
    z.object({
      nonce: z.string(),
      contextId: id.nullable(),
      timestamp: z.int(),
      nodeSignature: z.string(),
    }),
  ),
  stored: data(z.string()),
  did: data(
    z.object({
      did: z.object({
        id: z.literal('did:cali'),
        root_keys: z.array(
          z.object({
            signing_key: z.string(),
            wallet: z.looseObject({ type: z.string() }),
            wallet_address: z.string(),
            created_at: z.number(),
          }),
        ),
        client_keys: z.array(clientKey),
      }),
    }),
  ),
  revoked: data(z.object({ revoked: z.int() })),
  history: data(
    z.object({
      events: z.array(
        z.object({
          at: z.string(),
          kind: z.string(),
          subject: z.string(),
          actor: z.string(),
          signature: z.string().nullable(),
        }),
      ),
    }),
  ),
  tokens,
  jwks: z.object({ keys: z.array(z.looseObject({ kid: z.string() })) }),
} as const;
