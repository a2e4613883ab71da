import { describe, expect, it } from 'vitest';
import type { ContextId, TransactionHash } from '#shared/domain/ids.ts';
import {
  decodeBeacon,
  decodeNotice,
  encodeBeacon,
  encodeNotice,
  isWholeNotice,
  type LogNotice,
  NOTICE_BYTES_MAX,
} from './log-notice.ts';

const notice: LogNotice = {
  contextId: 'context' as ContextId,
  sequence: 9_223_372_036_854_775_807n,
  hash: 'hash' as TransactionHash,
  kind: 'mutate',
  status: 'ok',
  events: [{ kind: 'Set', data: Buffer.from([0, 255, 128]) }],
  rootHash: null,
  changed: true,
};

describe('log notice', () => {
  it('survives the wire', () => {
    expect(decodeNotice(encodeNotice(notice))).toEqual(notice);
  });

  it('travels as its position when it is too large', () => {
    const large = { ...notice, events: [{ kind: 'Big', data: new Uint8Array(NOTICE_BYTES_MAX) }] };
    const decoded = decodeNotice(encodeNotice(large));
    expect(isWholeNotice(decoded)).toBe(false);
    expect(decoded).toEqual({ contextId: notice.contextId, sequence: notice.sequence });
  });

  it('refuses bytes that are no notice', () => {
    expect(() => decodeNotice(Buffer.from('{"contextId":"a"}'))).toThrow();
  });
});

describe('beacon', () => {
  it('survives the wire', () => {
    const heads = [{ contextId: 'a' as ContextId, sequence: 7n }];
    expect(decodeBeacon(encodeBeacon(heads))).toEqual(heads);
  });
});
