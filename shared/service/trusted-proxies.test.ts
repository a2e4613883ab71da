import type { IncomingMessage } from 'node:http';
import { expect, test } from 'vitest';
import { TrustedProxies } from './trusted-proxies.ts';

const proxies = new TrustedProxies(['10.0.0.0/8', '127.0.0.1', 'fd00::/8']);

function request(remoteAddress: string, headers: Record<string, string> = {}): IncomingMessage {
  return { socket: { remoteAddress }, headers } as unknown as IncomingMessage;
}

test('the address of a client is that of its connection, whatever it claims', () => {
  const claiming = { 'x-forwarded-for': '1.1.1.1' };

  expect(proxies.addressOf(request('203.0.113.7', claiming))).toBe('203.0.113.7');
  expect(TrustedProxies.none.addressOf(request('10.0.0.1', claiming))).toBe('10.0.0.1');
});

test('behind trusted proxies it is the last hop that is none of them', () => {
  const of = (peer: string, forwarded: string) =>
    proxies.addressOf(request(peer, { 'x-forwarded-for': forwarded }));

  expect(of('10.0.0.1', '203.0.113.7')).toBe('203.0.113.7');
  expect(of('::ffff:10.0.0.1', '1.1.1.1, 203.0.113.7, 10.0.0.2')).toBe('203.0.113.7');
  expect(of('fd00::1', '[2001:db8::7]:4711')).toBe('2001:db8::7');
  expect(of('10.0.0.1', '203.0.113.7:4711')).toBe('203.0.113.7');
  expect(of('10.0.0.1', '10.0.0.3, 10.0.0.2')).toBe('10.0.0.3');
  expect(of('10.0.0.1', '203.0.113.7, nonsense')).toBe('10.0.0.1');
});

test('nobody is local through a proxy, however it hides', () => {
  const local = { host: 'localhost:2528' };

  expect(TrustedProxies.none.isLoopback(request('127.0.0.1', local))).toBe(true);
  expect(TrustedProxies.none.isLoopback(request('::ffff:127.0.0.1', local))).toBe(true);
  expect(proxies.isLoopback(request('127.0.0.1', local))).toBe(false);
  const forwarded = { ...local, 'x-forwarded-for': '127.0.0.1' };
  expect(TrustedProxies.none.isLoopback(request('127.0.0.1', forwarded))).toBe(false);
  expect(proxies.isLoopback(request('10.0.0.1', forwarded))).toBe(false);
});
