import { describe, expect, it } from 'vitest';
import { type ContextId, type TransactionHash, ZERO_ID } from '#shared/domain/ids.ts';
import type { LogNotice } from './log-notice.ts';
import { encodeEcho, encodeError, encodeEvents, parseClientFrame } from './websocket.ts';

const subscribe = (rest: string) =>
  parseClientFrame(`{"method":"subscribe","params":{"contextIds":["${ZERO_ID}"]},${rest}}`);

const withParams = (params: unknown) =>
  parseClientFrame(JSON.stringify({ id: 1, method: 'subscribe', params }));

describe('parseClientFrame', () => {
  it.each(['', 'x', '1', 'null', '[]', '"id"', '{', '['.repeat(50_000)])(
    'ignores %.20s',
    (text) => {
      expect(parseClientFrame(text)).toEqual({ kind: 'ignored' });
    },
  );

  it.each(['"1"', '-1', '1.5', '1e3', '18446744073709551616', '{}', '{"source":"1"}', 'true'])(
    'ignores the id %s',
    (id) => expect(subscribe(`"id":${id}`)).toEqual({ kind: 'ignored' }),
  );

  it('keeps a u64 id exactly', () => {
    const frame = subscribe('"id":18446744073709551615');
    expect(frame).toMatchObject({ kind: 'subscribe', id: 18446744073709551615n });
    expect(encodeEcho(18446744073709551615n, [])).toBe(
      '{"id":18446744073709551615,"result":{"contextIds":[]}}',
    );
  });

  it('takes null, and the field name of old clients', () => {
    expect(subscribe('"id":null')).toMatchObject({ kind: 'subscribe', id: null });
    expect(withParams({ applicationIds: [ZERO_ID] })).toMatchObject({ contextIds: [ZERO_ID] });
  });

  it.each([
    ['{"id":1}', 'missing field `method`'],
    [
      '{"id":1,"method":"x","params":{}}',
      'unknown variant `x`, expected `subscribe` or `unsubscribe`',
    ],
    ['{"id":1,"method":"subscribe"}', 'missing field `params`'],
    ['{"id":1,"method":"subscribe","params":{}}', 'missing field `contextIds`'],
    [
      '{"id":1,"method":"subscribe","params":{"contextIds":["1"]}}',
      'invalid length 1, expected a base58 encoded hash',
    ],
  ])('answers %s', (text, reason) => {
    expect(parseClientFrame(text)).toEqual({ kind: 'invalid', id: 1n, reason });
  });

  it('reads positions', () => {
    const contextIds = [ZERO_ID];
    const at = (value: unknown) => withParams({ contextIds, since: { [ZERO_ID]: value } });
    const since = (sequence: bigint, hash: string | null) =>
      new Map([[ZERO_ID, { sequence, hash }]]);
    expect(at('12')).toMatchObject({ since: since(12n, null) });
    expect(at({ sequence: '12', hash: 'h' })).toMatchObject({ since: since(12n, 'h') });
    for (const bad of [12, '-1', '1.5', '9999999999999999999', {}, { sequence: '1', hash: 1 }]) {
      expect(at(bad)).toMatchObject({ kind: 'invalid' });
    }
    expect(withParams({ contextIds, since: { other: '1' } })).toMatchObject({ kind: 'invalid' });
  });
});

describe('encodeEvents', () => {
  const notice: LogNotice = {
    contextId: 'c' as ContextId,
    sequence: 12n,
    hash: 'h' as TransactionHash,
    kind: 'mutate',
    status: 'ok',
    events: [{ kind: 'Set', data: new Uint8Array([1, 255]) }],
    rootHash: 'r',
    changed: true,
  };
  const typesOf = (frames: readonly string[]) =>
    frames.map((frame) => (JSON.parse(frame) as { result: { type: string } }).result.type);

  it('writes the bytes of the contract', () => {
    expect(encodeEvents(notice, 'both')).toEqual([
      '{"id":null,"result":{"contextId":"c","type":"TransactionExecuted","data":{"hash":"h"},"sequence":"12","hash":"h"}}',
      '{"id":null,"result":{"contextId":"c","type":"OutcomeEvent","data":{"events":[{"kind":"Set","data":[1,255]}]},"sequence":"12","hash":"h"}}',
      '{"id":null,"result":{"contextId":"c","type":"StateMutation","data":{"newRoot":"r"},"sequence":"12","hash":"h"}}',
      '{"id":null,"result":{"contextId":"c","type":"ExecutionEvent","data":{"events":[{"kind":"Set","data":[1,255]}]},"sequence":"12","hash":"h"}}',
    ]);
  });

  it('tells a failed run to dialect a only', () => {
    const failed = {
      ...notice,
      status: 'failed',
      events: [],
      rootHash: null,
      changed: false,
    } as const;
    expect(typesOf(encodeEvents(failed, 'a'))).toEqual(['TransactionExecuted', 'OutcomeEvent']);
    expect(encodeEvents(failed, 'b')).toEqual([]);
  });

  it('takes the hash as the new root of a guest that commits none', () => {
    const [frame] = encodeEvents({ ...notice, rootHash: null }, 'b');
    expect(frame).toContain('"newRoot":"h"');
  });
});

it('encodes errors with their id', () => {
  expect(encodeError(null, { type: 'ParseError', data: 'no' })).toBe(
    '{"id":null,"error":{"type":"ParseError","data":"no"}}',
  );
});
