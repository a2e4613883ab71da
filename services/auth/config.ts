import { z } from 'zod';
import { secretBytes, secretText } from '#shared/config/secrets.ts';
import { isRootKey } from './root-key.ts';

/** Secrets, limits and times of the auth service. */
export const authConfigSchema = z
  .strictObject({
    adminToken: secretText().describe('The operator’s own credential.'),
    open: z.boolean().default(false).describe('Lets callers on this machine in without a token.'),
    nodeKey: secretBytes(32).describe(
      'Seed of the node’s ed25519 key: signs challenges, verifies the headers of dev routes.',
    ),
    secretKey: secretBytes(32).describe('Encrypts the keys that tokens are signed with at rest.'),
    setupToken: secretText().describe('Lets its holder add the first root key, once.'),
    firstRootKey: z
      .string()
      .refine(isRootKey, 'a wallet key is ed25519:<base58 of 32 bytes> or 0x<40 hex digits>')
      .nullable()
      .default(null)
      .describe('The verifying key that may become the first root key without the setup token.'),
    challengeMs: z.int().min(1_000).default(900_000).describe('How old a challenge may be.'),
    clockSkewMs: z
      .int()
      .min(0)
      .default(60_000)
      .describe('How far ahead the clock of a challenge may be.'),
    untimedHeadersMs: z
      .int()
      .min(0)
      .default(2_592_000_000)
      .describe(
        'For how long after its login a client key may use headers that carry no signed time.',
      ),
    accessTokenMs: z.int().min(1_000).default(3_600_000).describe('How long a token is good.'),
    refreshTokenMs: z
      .int()
      .min(1_000)
      .default(2_592_000_000)
      .describe('How long the token is good that gets new ones.'),
    nearRpcUrls: z
      .record(z.string(), z.url())
      .default({})
      .describe(
        'JSON-RPC URLs of NEAR by network id: each login asks whether the key has full access to its account; without any, that is not checked.',
      ),
    accessFile: z
      .string()
      .nullable()
      .default(null)
      .describe('The access file: users, roles, what they may do.'),
    verificationsPerAddress: z
      .int()
      .min(1)
      .default(20)
      .describe('Logins and header verifications per second of one address.'),
    verificationsTotal: z
      .int()
      .min(1)
      .default(200)
      .describe('Logins and header verifications per second of all addresses.'),
  })
  .describe('Login by wallet, keys, tokens and access rules.');

/** What stands in `[auth]`; the key that all services share has a section of its own. */
export const authSection = authConfigSchema.omit({ secretKey: true });

export type AuthConfig = Readonly<z.output<typeof authConfigSchema>>;
