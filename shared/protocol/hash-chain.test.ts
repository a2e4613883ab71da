import { expect, test } from 'vitest';
import { decodeBase58, encodeBase58 } from '#shared/crypto/base58.ts';
import { ZERO_ID } from '#shared/domain/ids.ts';
import { transactionHash } from './hash-chain.ts';
import { contextIdFromBytes, parseTransactionHash, publicKeyFromBytes } from './ids.ts';

const fields = {
  contextId: contextIdFromBytes(new Uint8Array(32).fill(1)),
  method: 'set',
  payload: Buffer.from('{"a":1}'),
  priorHash: parseTransactionHash(ZERO_ID),
};

test('the hash of a transaction reproduces the published vectors, with and without executor', () => {
  const executorPublicKey = publicKeyFromBytes(new Uint8Array(32).fill(2));

  expect(fields.contextId).toBe('4vJ9JU1bJJE96FWSJKvHsmmFADCg4gpZQff4P3bkLKi');
  expect(transactionHash({ ...fields, executorPublicKey })).toBe(
    'GCn2YvMvbArZTBCwDxphxDDVYMNzsqngN4EkFV5CZFGZ',
  );
  expect(transactionHash(fields)).toBe('48eoDEip6VdeURgv3uAkhyNkK11bpu6g9DFH8aQMpkdW');
});

test('base58 survives any bytes, leading zeros included', () => {
  for (let length = 0; length < 70; length += 1) {
    for (const fill of [0, 1, 255]) {
      const bytes = Uint8Array.from({ length }, (_, i) => (i < 2 ? 0 : (fill * (i + 7)) & 255));
      expect(Buffer.from(decodeBase58(encodeBase58(bytes)))).toEqual(Buffer.from(bytes));
    }
  }
});

test('a bad character is named', () => {
  expect(() => decodeBase58('ab0')).toThrow("invalid character '0' at byte 2");
});
