import { expect, test } from 'vitest';
import { keyPairOf } from './ed25519.ts';

test('derives the public key of RFC 8032, section 7.1, test 1', () => {
  const seed = Buffer.from(
    '9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60',
    'hex',
  );

  expect(Buffer.from(keyPairOf(seed).publicKey).toString('hex')).toBe(
    'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a',
  );
});
