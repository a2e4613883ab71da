import { z } from 'zod';

/** Shapes of login and keys in the Admin API (Calimero node server). */

const contextId = z.string().nullish();

export const requestChallengeSchema = z.object({ contextId });

/** The wallet type object, as clients of all generations write it. */
const walletSchema = z.looseObject({ type: z.string() });

export const addKeySchema = z.object({
  walletSignature: z.union([
    z.string(),
    z.object({ signature: z.array(z.string()), messageHash: z.string() }),
  ]),
  payload: z.object({
    message: z.object({
      contextId,
      nonce: z.string(),
      timestamp: z.int(),
      nodeSignature: z.string(),
      /** The text that the wallet signed. */
      message: z.string(),
      /** The client key: base58 of its libp2p protobuf form. */
      publicKey: z.string(),
    }),
    metadata: z.object({
      recipient: z.string().optional(),
      callbackUrl: z.string().nullish(),
      nonce: z.string().optional(),
    }),
  }),
  /** The oldest generation has `signingKey` where later ones have `verifyingKey`. */
  walletMetadata: z
    .object({
      wallet: walletSchema,
      verifyingKey: z.string().optional(),
      signingKey: z.string().optional(),
      walletAddress: z.string().nullish(),
      networkMetadata: z.object({ chainId: z.string(), rpcUrl: z.string() }).nullish(),
    })
    .refine((metadata) => (metadata.verifyingKey ?? metadata.signingKey) !== undefined, {
      message: 'missing field `verifyingKey`',
    }),
  contextId,
  /** Only for the first root key of a node. */
  setupToken: z.string().optional(),
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
