import { keyPairOf, signEd25519 } from '#shared/crypto/ed25519.ts';
import { publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { headBytes, type SignedLogHead } from '#shared/protocol/log-proof.ts';
import { decodeUnsignedHead, encodeSignedHead } from '#shared/service/request-signed-head.ts';
import type { Clock } from '#shared/util/clock.ts';

/**
 * Signs the head of a log with the node's key, at the time of now. What is signed has a label of
 * its own: nobody can have a challenge or anything else signed this way.
 */
export function signHead(
  payload: Uint8Array,
  { nodeKey, clock }: { readonly nodeKey: Uint8Array; readonly clock: Clock },
): Uint8Array {
  const head = { ...decodeUnsignedHead(payload), timeMs: clock.nowMs() };
  const signed: SignedLogHead = {
    ...head,
    nodeKey: publicKeyFromBytes(keyPairOf(nodeKey).publicKey),
    signature: signEd25519(nodeKey, headBytes(head)),
  };
  return encodeSignedHead(signed);
}
