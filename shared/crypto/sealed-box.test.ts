import { expect, test } from 'vitest';
import { systemRandom } from '#shared/util/random.ts';
import { openBox, sealBox } from './sealed-box.ts';

const key = Buffer.alloc(32, 7);
const secret = Buffer.from('a private key');

test('a box opens with its key and purpose only', () => {
  const box = sealBox(key, secret, 'member', systemRandom);

  expect(Buffer.from(openBox(key, box, 'member'))).toEqual(secret);
  expect(() => openBox(Buffer.alloc(32, 8), box, 'member')).toThrow(/authenticate/);
  expect(() => openBox(key, box, 'other')).toThrow(/authenticate/);
});

test('no byte of a box can be changed', () => {
  const box = sealBox(key, secret, 'member', systemRandom);

  for (let at = 0; at < box.length; at += 1) {
    const bent = Uint8Array.from(box, (byte, index) => (index === at ? byte ^ 1 : byte));
    expect(() => openBox(key, bent, 'member')).toThrow(/authenticate|version/);
  }
});
