import type { Bus } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { parseContextId } from '#shared/protocol/ids.ts';
import { headJson, type LogHead, type SignedLogHead } from '#shared/protocol/log-proof.ts';
import { parseSignedHead } from '#shared/protocol/parse-proof.ts';
import { assert } from '#shared/util/assert.ts';

export type UnsignedHead = Omit<LogHead, 'timeMs'>;

const HASH_BYTES = 32;

/** Asks `auth`, which alone has the node's key, to sign the head of a log. */
export async function requestSignedHead(
  bus: Bus,
  { contextId, size, root, lastSeal }: UnsignedHead,
  deadlineMs: number,
): Promise<SignedLogHead> {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
  const head = { contextId, size: size.toString(), root: hex(root), lastSeal: hex(lastSeal) };
  const payload = Buffer.from(JSON.stringify(head));
  const reply = await bus.request(subjects.authSignHead, payload, { deadlineMs });
  return parseSignedHead(JSON.parse(Buffer.from(reply).toString()));
}

/** Decodes what `requestSignedHead` asks; only services of this deployment send it. */
export function decodeUnsignedHead(payload: Uint8Array): UnsignedHead {
  const head = JSON.parse(Buffer.from(payload).toString()) as Record<keyof UnsignedHead, string>;
  const [root, lastSeal] = [head.root, head.lastSeal].map((text) => Buffer.from(text, 'hex'));
  assert(root?.length === HASH_BYTES && lastSeal?.length === HASH_BYTES, 'hashes have 32 bytes');
  return { contextId: parseContextId(head.contextId), size: BigInt(head.size), root, lastSeal };
}

export function encodeSignedHead(head: SignedLogHead): Uint8Array {
  return Buffer.from(JSON.stringify(headJson(head)));
}
