import { z } from 'zod';

/** Shapes of login and keys in the Admin API (Calimero node server). */

const contextId = z.string().nullish();

export const requestChallengeSchema = z.object({ contextId });

/** The wallet type object, as clients of all generations write it. */
const walletSchema = z.looseObject({ type: z.string() });

const walletMetadataSchema = z
  .object({
    wallet: walletSchema.describe('`{"type":"ETH"}`, or `{"type":"NEAR","networkId":"testnet"}`.'),
    verifyingKey: z
      .string()
      .optional()
      .describe('The address of an ETH wallet, `ed25519:<base58>` of a NEAR one.'),
    signingKey: z.string().optional().describe('`verifyingKey`, as the oldest clients call it.'),
    walletAddress: z.string().nullish().describe('The account of a NEAR wallet.'),
    networkMetadata: z.object({ chainId: z.string(), rpcUrl: z.string() }).nullish(),
  })
  .refine((metadata) => (metadata.verifyingKey ?? metadata.signingKey) !== undefined, {
    message: 'missing field `verifyingKey`',
  })
  .meta({ required: ['wallet', 'verifyingKey'] });

export const addKeySchema = z.object({
  walletSignature: z
    .union([z.string(), z.object({ signature: z.array(z.string()), messageHash: z.string() })])
    .describe('Hex of 65 bytes (ETH, EIP-191), or base64 of 64 (NEAR, NEP-413).'),
  payload: z.object({
    message: z.object({
      contextId,
      nonce: z.string().describe('Of the challenge.'),
      timestamp: z.int().describe('Of the challenge.'),
      nodeSignature: z.string().describe('Of the challenge.'),
      message: z
        .string()
        .describe(
          'The text that the wallet signed: JSON of nodeSignature and publicKey, or EIP-4361.',
        ),
      publicKey: z
        .string()
        .describe('The client key: base58 of 08 01 12 20 and the 32 bytes of an Ed25519 key.'),
    }),
    metadata: z
      .object({
        recipient: z.string().optional(),
        callbackUrl: z.string().nullish(),
        nonce: z.string().optional(),
      })
      .describe('NEAR: recipient, and callbackUrl where there was one, as they were signed.'),
  }),
  walletMetadata: walletMetadataSchema,
  contextId,
  setupToken: z.string().optional().describe('Only for the first root key of a node.'),
});

export type AddKeyRequest = z.output<typeof addKeySchema>;

export const generateTokenSchema = z.object({
  contextId: z.string(),
  executorPublicKey: z.string(),
});

export const refreshTokenSchema = z.object({ refreshToken: z.string() });

export const revokeKeySchema = z.object({ key: z.string() });

export interface Challenge {
  /** Base64 of 32 random bytes. */
  readonly nonce: string;
  readonly contextId: string | null;
  /** Unix seconds. */
  readonly timestamp: number;
  /** Base64 of the node's ed25519 signature over the compact JSON of the three fields above. */
  readonly nodeSignature: string;
}

/** What the node signs: compact JSON in exactly this order. */
export function challengeText({
  nonce,
  contextId: id,
  timestamp,
}: Omit<Challenge, 'nodeSignature'>): string {
  return JSON.stringify({ nonce, contextId: id, timestamp });
}

/** A client key as the dialect shows it. */
export function clientKeyAnswer(key: {
  readonly wallet: string;
  readonly signingKey: string;
  readonly createdAt: Date;
  readonly contextId: string | null;
}) {
  return {
    wallet: JSON.parse(key.wallet) as unknown,
    signingKey: key.signingKey,
    createdAt: key.createdAt.getTime(),
    contextId: key.contextId,
  };
}
