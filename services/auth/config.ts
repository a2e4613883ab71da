import { z } from 'zod';

const secret32 = z
  .instanceof(Uint8Array)
  .refine((bytes) => bytes.length === 32, '32 bytes are needed');

/** Secrets, limits and times of the auth service. */
export const authConfigSchema = z.strictObject({
  /** The operator's own credential. */
  adminToken: z.string().min(1),
  /** Lets callers on this machine in without a token. */
  open: z.boolean().default(false),
  /** Seed of the node's ed25519 key: signs challenges, verifies the headers of dev routes. */
  nodeKey: secret32,
  /** Encrypts the keys that tokens are signed with at rest. */
  secretKey: secret32,
  /** Lets its holder add the first root key, once. */
  setupToken: z.string().min(1),
  /** The verifying key that may become the first root key without the setup token, or null. */
  firstRootKey: z.string().nullable().default(null),
  /** How old a challenge may be, and how far ahead its clock. */
  challengeMs: z.int().min(1_000).default(900_000),
  clockSkewMs: z.int().min(0).default(60_000),
  /** For how long after its login a client key may use headers that carry no signed time. */
  untimedHeadersMs: z.int().min(0).default(2_592_000_000),
  accessTokenMs: z.int().min(1_000).default(3_600_000),
  refreshTokenMs: z.int().min(1_000).default(2_592_000_000),
  /** JSON-RPC URLs of NEAR by network id; without one, a key's account is not checked. */
  nearRpcUrls: z.record(z.string(), z.url()).default({}),
  /** The access file, or null for none. */
  accessFile: z.string().nullable().default(null),
  /** Logins and header verifications per second, of one address and of all. */
  verificationsPerAddress: z.int().min(1).default(20),
  verificationsTotal: z.int().min(1).default(200),
});

export type AuthConfig = Readonly<z.output<typeof authConfigSchema>>;
