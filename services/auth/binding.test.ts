import { expect, test } from 'vitest';
import { demandBinding } from './binding.ts';

const address = `0x${'Ab'.repeat(20)}`;
const bound = {
  verifyingKey: address.toLowerCase(),
  nodeSignature: 'c2ln',
  publicKey: 'key',
  nonce: Buffer.alloc(32, 7).toString('base64'),
};
const nowMs = Date.UTC(2026, 0, 2);
const at = { nowMs, clockSkewMs: 60_000 };

function siwe(change: (text: string) => string = (text) => text): string {
  return change(
    [
      `example.org wants you to sign in with your Ethereum account:`,
      address,
      '',
      'Log in.',
      '',
      'URI: https://example.org',
      'Version: 1',
      'Chain ID: 1',
      `Nonce: ${'07'.repeat(32)}`,
      'Issued At: 2026-01-01T00:00:00Z',
      'Resources:',
      '- urn:cairn:challenge:c2ln',
      '- urn:cairn:client-key:key',
    ].join('\n'),
  );
}

test('takes both forms', () => {
  demandBinding('{"nodeSignature":"c2ln","publicKey":"key"}', bound, at);
  demandBinding(siwe(), bound, at);
});

test.each([
  ['hello', 'neither JSON'],
  ['null', 'this challenge as nodeSignature'],
  ['{"nodeSignature":"other","publicKey":"key"}', 'this challenge as nodeSignature'],
  ['{"nodeSignature":"c2ln","publicKey":"other"}', 'this client key as publicKey'],
  [siwe((text) => text.replace(/^Issued At.*\n/m, '')), 'not of EIP-4361'],
  [siwe((text) => text.replace('Nonce: 07', 'Nonce: 08')), 'not the nonce of the challenge in hex'],
  [siwe((text) => text.replace('0xAb', '0xAc')), 'another address than verifyingKey'],
  [siwe((text) => text.replace('c2ln', 'x')), 'the resource urn:cairn:challenge:'],
  [siwe((text) => text.replace('-key:key', '-key:x')), 'the resource urn:cairn:client-key:'],
  [siwe((text) => text.replace('2026-01-01', '2026-01-03')), 'not valid now'],
])('names what is wrong with %j', (text, reason) => {
  expect(() => demandBinding(text, bound, at)).toThrow(reason);
});
