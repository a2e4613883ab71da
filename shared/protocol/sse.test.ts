import { describe, expect, it } from 'vitest';
import { encodeSseId, parseSseId, parseSseRequest } from './sse.ts';

const session = 'AbCdEfGhJkLmNpQr';

describe('ids', () => {
  it('carry the sequence of each context that moved', () => {
    const position = new Map([
      [0, 17n],
      [12, 900n],
    ]);
    const id = encodeSseId(session, position);
    expect(id).toBe(`${session}-0.17_12.900`);
    expect(parseSseId(id)).toEqual({ sessionId: session, position });
  });

  it('may say that nothing moved', () => {
    expect(encodeSseId(session, new Map())).toBe(`${session}-0`);
    expect(parseSseId(`${session}-0`)).toEqual({ sessionId: session, position: new Map() });
  });

  it.each([
    '',
    '-0',
    'short-0',
    `${session}-x`,
    `${session}-1.`,
    `${session}-1.2_`,
    `${session}'-0`,
  ])('of another kind are none: %s', (id) => expect(parseSseId(id)).toBeNull());
});

describe('requests', () => {
  it('are those of a WebSocket with a session as their id', () => {
    const params = { contextIds: ['11111111111111111111111111111111'], kinds: ['b', 'a'] };
    const body = JSON.stringify({ id: session, method: 'subscribe', params });
    expect(parseSseRequest(body)).toMatchObject({
      kind: 'subscribe',
      sessionId: session,
      contextIds: params.contextIds,
      kinds: ['a', 'b'],
    });
  });

  it.each([
    ['{', /JSON/],
    ['null', /session id/],
    ['{"id":5}', /session id/],
    [`{"id":"${session}","method":"shout","params":{}}`, /unknown variant/],
    [`{"id":"${session}","method":"authenticate","params":{"token":"x"}}`, /subscribe/],
    [`{"id":"${session}","method":"query","params":{}}`, /subscribe/],
  ])('of another shape are refused: %s', (body, reason) => {
    expect(() => parseSseRequest(body)).toThrow(reason);
  });
});
