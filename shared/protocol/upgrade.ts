import { decodeId } from '#shared/crypto/base58.ts';
import type { ApplicationId } from '#shared/domain/ids.ts';
import { applicationIdFromBytes } from './ids.ts';

/** What an `upgrade` transaction changes. */
export interface Upgrade {
  readonly from: ApplicationId;
  readonly to: ApplicationId;
}

/** The payload of an `upgrade`: the 32 bytes of either id. */
export function encodeUpgrade({ from, to }: Upgrade): Uint8Array {
  return Buffer.concat([decodeId(from), decodeId(to)]);
}

export function decodeUpgrade(payload: Uint8Array): Upgrade {
  return {
    from: applicationIdFromBytes(payload.subarray(0, 32)),
    to: applicationIdFromBytes(payload.subarray(32)),
  };
}
