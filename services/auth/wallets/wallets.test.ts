import { Wallet } from 'ethers';
import { describe, expect, test } from 'vitest';
import { keyPairOf } from '#shared/crypto/ed25519.ts';
import { challengeText } from '#shared/protocol/auth-api.ts';
import { verifyNodeSignature } from '../challenge.ts';
import { verifyEthereum } from './ethereum.ts';
import { verifyNear } from './near.ts';
import { native, recoverPortably, recoverPublicKey } from './secp256k1.ts';
import { parseSiwe } from './siwe.ts';

const NEAR = {
  key: 'ed25519:DxdDEdfg4sARk2YteEvp6KsqUGAgKyCZkYTqrboGWwiV',
  signature:
    'rkBQLYN7xxe1oetSfktrqL5jgVsZWKNvKZJmoZLNh756KIUBseYIzK3Dt17O60aPMl6S17lDnIlLVLOLdi5OCw==',
  signed: {
    message: 'helloworld',
    nonce: Buffer.from('89qdrkz1egXlJ2wwF1tcZpuFT0LXT4AHhnAnFvG3N/E=', 'base64'),
    recipient: 'me',
    callbackUrl: 'http://127.0.0.1:2428/admin/confirm-wallet',
  },
};
const ETH = {
  address: '0x04a4e95eeebe44a0f37b75f40957445d2d16a88c',
  message: 'blabla',
  signature:
    '0x15a88c2b8f3f3a0549c88dcbdba063de517ce55e68fdf2ad443f2c24f71904c740f212f0d74b94e271b9d549a8825894d0869b173709a5e798ec6997a1c72d5b1b',
};

/** Every text that differs from `bytes` in one bit. */
function* flips(bytes: Buffer): Generator<Buffer> {
  for (let bit = 0; bit < bytes.length * 8; bit += 1) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    yield flipped;
  }
}

describe('NEAR', () => {
  test('verifies the published vector, and no bit of it may change', () => {
    expect(verifyNear(NEAR.key, NEAR.signature, NEAR.signed)).toBe(true);
    for (const flipped of flips(Buffer.from(NEAR.signature, 'base64'))) {
      expect(verifyNear(NEAR.key, flipped.toString('base64'), NEAR.signed)).toBe(false);
    }
    for (const nonce of flips(NEAR.signed.nonce)) {
      expect(verifyNear(NEAR.key, NEAR.signature, { ...NEAR.signed, nonce })).toBe(false);
    }
    for (const change of [{ message: 'helloworlD' }, { recipient: 'mE' }, { callbackUrl: '' }]) {
      expect(verifyNear(NEAR.key, NEAR.signature, { ...NEAR.signed, ...change })).toBe(false);
    }
  });

  test.each(['', 'ed25519:', 'ed25519:0', 'secp256k1:abc', 'ed25519:1111'])(
    'refuses the key "%s"',
    (key) => expect(verifyNear(key, NEAR.signature, NEAR.signed)).toBe(false),
  );
});

describe('Ethereum', () => {
  const verify = (signature: string, message = ETH.message, address = ETH.address) =>
    verifyEthereum(address, signature, message);

  test('verifies the published vector, and no bit of it may change', () => {
    expect(() => verify(ETH.signature)).not.toThrow();
    expect(() => verify(ETH.signature, ETH.message, ETH.address.toUpperCase())).not.toThrow();
    for (const flipped of flips(Buffer.from(ETH.signature.slice(2), 'hex'))) {
      // v is 27, 28, or 0, 1 for the same.
      const isSame = flipped[64] === 0;
      if (!isSame) expect(() => verify(`0x${flipped.toString('hex')}`)).toThrow();
    }
    expect(() => verify(ETH.signature, 'blablb')).toThrow('Public key and account does not match.');
  });

  test.each([
    ['zz', 'Cannot decode signature.'],
    ['0x123', 'Cannot decode signature.'],
    ['0x1234', 'Signature must be 65 bytes long.'],
    [`0x${'00'.repeat(65)}`, 'Cannot recover public key.'],
    [`0x${'ff'.repeat(65)}`, 'Cannot recover public key.'],
  ])('%s: %s', (signature, text) => {
    expect(() => verify(signature)).toThrow(text);
  });

  test('the native and the portable implementation agree, and a high s is refused', () => {
    for (let i = 0; i < 20; i += 1) {
      const wallet = Wallet.createRandom();
      const signed = wallet.signingKey.sign(Buffer.alloc(32, i + 1));
      const bytes = Buffer.from(signed.r.slice(2) + signed.s.slice(2), 'hex');
      const hash = Buffer.alloc(32, i + 1);

      const recovered = recoverPublicKey(bytes, signed.yParity, hash);

      expect(Buffer.from(recovered ?? []).toString('hex')).toBe(
        wallet.signingKey.publicKey.slice(2),
      );
      expect(recoverPortably(bytes, signed.yParity, hash)).toEqual(new Uint8Array(recovered ?? []));
      const order = 0xffffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n;
      const high = (order - BigInt(signed.s)).toString(16).padStart(64, '0');
      const malleated = Buffer.from(signed.r.slice(2) + high, 'hex');
      expect(recoverPublicKey(malleated, 1 - signed.yParity, hash)).toBeNull();
    }
  });

  test('the native implementation is there where it is built for', () => {
    const isBuilt = ['linux-x64', 'darwin-arm64'].includes(`${process.platform}-${process.arch}`);
    expect(native !== null).toBe(isBuilt);
  });
});

test('the node’s signature of a challenge reproduces the published vector', () => {
  const challenge = {
    nonce: 'CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=',
    contextId: null,
    timestamp: 1_728_547_200,
    nodeSignature:
      'h10uNb3swJWjUlOKRvurSPHoo9M5whMp0QbNgBvlFywK/Rkq4iHdnu5YTgm8XC9IgmBQNEAMXXlZv0XDszMnCg==',
  };
  const { publicKey } = keyPairOf(new Uint8Array(32).fill(4));

  expect(challengeText(challenge)).toBe(
    '{"nonce":"CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk=","contextId":null,"timestamp":1728547200}',
  );
  expect(() => verifyNodeSignature(publicKey, challenge)).not.toThrow();
  expect(() => verifyNodeSignature(publicKey, { ...challenge, timestamp: 1 })).toThrow(
    'Node signature is invalid.',
  );
  expect(() => verifyNodeSignature(publicKey, { ...challenge, nodeSignature: '!' })).toThrow(
    'Failed to decode signature',
  );
});

test('a message of EIP-4361 is read whole, and nothing else is', () => {
  const text = [
    'app.example wants you to sign in with your Ethereum account:',
    '0x04a4e95eEEbe44a0f37b75F40957445d2D16A88C',
    '',
    'Add a key.',
    '',
    'URI: https://app.example/login',
    'Version: 1',
    'Chain ID: 1',
    'Nonce: 0123456789abcdef',
    'Issued At: 2026-11-21T10:00:00Z',
    'Expiration Time: 2026-11-21T10:10:00Z',
    'Resources:',
    '- urn:cairn:challenge:abc',
    '- urn:cairn:client-key:def',
  ].join('\n');

  expect(parseSiwe(text)).toEqual({
    address: '0x04a4e95eEEbe44a0f37b75F40957445d2D16A88C',
    nonce: '0123456789abcdef',
    issuedAt: new Date('2026-11-21T10:00:00Z'),
    expirationTime: new Date('2026-11-21T10:10:00Z'),
    notBefore: null,
    resources: ['urn:cairn:challenge:abc', 'urn:cairn:client-key:def'],
  });
  for (const broken of ['', '{}', `${text}\nmore`, text.replace('Version: 1', 'Version: 2')]) {
    expect(parseSiwe(broken)).toBeNull();
  }
});
