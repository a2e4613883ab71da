import { signEd25519, verifyEd25519 } from '#shared/crypto/ed25519.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { type Challenge, challengeText } from '#shared/protocol/auth-api.ts';
import type { Clock } from '#shared/util/clock.ts';
import type { Random } from '#shared/util/random.ts';

/** Makes a challenge; nothing is stored, the node's signature proves later that it made it. */
export function issueChallenge(
  nodeKey: Uint8Array,
  contextId: string | null,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Challenge {
  const unsigned = {
    nonce: Buffer.from(random(32)).toString('base64'),
    contextId,
    timestamp: Math.floor(clock.nowMs() / 1_000),
  };
  const signature = signEd25519(nodeKey, Buffer.from(challengeText(unsigned)));
  return { ...unsigned, nodeSignature: Buffer.from(signature).toString('base64') };
}

/** Throws AppError `invalid_request`, with the dialect's texts, unless this node made it. */
export function verifyNodeSignature(nodePublicKey: Uint8Array, challenge: Challenge): void {
  const signature = Buffer.from(challenge.nodeSignature, 'base64');
  if (signature.toString('base64') !== challenge.nodeSignature) {
    throw new AppError('invalid_request', 'Failed to decode signature');
  }
  if (!verifyEd25519(nodePublicKey, Buffer.from(challengeText(challenge)), signature)) {
    throw new AppError('invalid_request', 'Node signature is invalid.');
  }
}

/** Throws AppError `invalid_request` for a challenge that is too old, or from the future. */
export function verifyAge(
  { timestamp }: Challenge,
  clock: Clock,
  limits: { readonly challengeMs: number; readonly clockSkewMs: number },
): void {
  const ageMs = clock.nowMs() - timestamp * 1_000;
  if (ageMs > limits.challengeMs) {
    throw new AppError('invalid_request', ' Challenge is too old. Please request a new challenge.');
  }
  if (ageMs < -limits.clockSkewMs) {
    throw new AppError('invalid_request', 'Challenge is from the future.');
  }
}
