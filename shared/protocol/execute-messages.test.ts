import { expect, test } from 'vitest';
import type { ApplicationId, ContextId, PublicKey, TransactionHash } from '#shared/domain/ids.ts';
import {
  decodeExecuteReply,
  decodeExecuteRequest,
  encodeExecuteReply,
  encodeExecuteRequest,
} from './execute-messages.ts';
import type { ExecuteRequest } from './internal-messages.ts';

const contextId = 'context' as ContextId;
const publicKey = 'key' as PublicKey;
const requests: readonly ExecuteRequest[] = [
  {
    kind: 'mutate',
    contextId,
    method: 'sät',
    payload: new Uint8Array([0, 255]),
    executorPublicKey: null,
    principal: 'ada',
    requestId: 'r',
  },
  {
    kind: 'play',
    contextId,
    method: 'javascript',
    payload: new Uint8Array(),
    executorPublicKey: publicKey,
    principal: '',
    requestId: null,
  },
  {
    kind: 'create',
    contextId,
    applicationId: 'a' as ApplicationId,
    payload: new Uint8Array([1]),
    memberPublicKey: publicKey,
    sealedPrivateKey: new Uint8Array([2]),
    principal: 'p',
  },
  {
    kind: 'fork',
    contextId,
    parentId: contextId,
    sequence: 2n ** 60n,
    memberPublicKey: publicKey,
    sealedPrivateKey: new Uint8Array([3]),
    principal: 'p',
  },
  {
    kind: 'upgrade',
    contextId,
    applicationId: 'a' as ApplicationId,
    migrationMethod: null,
    executorPublicKey: null,
    principal: 'p',
  },
  { kind: 'delete', contextId, principal: 'p' },
];

test.each(requests)('a request of kind $kind arrives as it was sent', (request) => {
  const decoded = decodeExecuteRequest(encodeExecuteRequest(request));

  expect(plain(decoded)).toEqual(plain(request));
});

test.each([
  { output: new Uint8Array([7]), error: null, sequence: 9n, hash: 'h' as TransactionHash },
  { output: null, error: 'no 🔑', sequence: null, hash: null },
])('a reply arrives with who gave it: $error', ({ output, error, sequence, hash }) => {
  const status = error === null ? ('ok' as const) : ('failed' as const);
  const reply = { outcome: { status, output, error, fuelUsed: 2n ** 40n }, sequence, hash };

  const decoded = decodeExecuteReply(encodeExecuteReply({ reply, executorId: 'e1' }));

  expect(decoded.executorId).toBe('e1');
  expect(plain(decoded.reply)).toEqual(plain(reply));
});

test('what is no message of ours is refused', () => {
  expect(() => decodeExecuteRequest(Buffer.from('{}'))).toThrow('known here');
  expect(() => decodeExecuteReply(Buffer.from('{}'))).toThrow('known here');
});

/** Bytes compare by what they hold, not by their class. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return [...value];
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, field]) => [key, plain(field)]));
}
