import type { IncomingMessage } from 'node:http';
import { BlockList, isIP, isIPv6 } from 'node:net';

const HOPS_MAX = 16;
const PROXY_HEADERS = ['x-forwarded-for', 'forwarded', 'x-real-ip', 'via'];

/** Tells where a request comes from, believing only the proxies that the operator named. */
export class TrustedProxies {
  static readonly none = new TrustedProxies([]);
  readonly #list = new BlockList();

  /** Addresses, and networks such as `10.0.0.0/8`. */
  constructor(addresses: readonly string[]) {
    for (const text of addresses) {
      const [address = '', bits] = text.split('/', 2);
      const family = isIPv6(address) ? 'ipv6' : 'ipv4';
      if (bits === undefined) this.#list.addAddress(address, family);
      else this.#list.addSubnet(address, Number(bits), family);
    }
  }

  /** Address of the client: the last hop of X-Forwarded-For that is no trusted proxy itself. */
  addressOf(request: IncomingMessage): string {
    let address = peerOf(request);
    const header = request.headers['x-forwarded-for'];
    if (typeof header !== 'string' || !this.#trusts(address)) return address;
    for (const hop of header.split(',').slice(-HOPS_MAX).toReversed()) {
      const named = withoutPort(hop.trim());
      if (isIP(named) === 0) return address;
      address = named;
      if (!this.#trusts(address)) return address;
    }
    return address;
  }

  /**
   * True for a caller on this machine that came neither through a proxy, nor from a web page of
   * another site, nor by a foreign name that was pointed at this machine (DNS rebinding).
   */
  isLoopback(request: IncomingMessage): boolean {
    const address = peerOf(request);
    const isLocal = address === '::1' || address.startsWith('127.');
    const { origin, host } = request.headers;
    if (!isLocal || this.#trusts(address)) return false;
    if (PROXY_HEADERS.some((name) => name in request.headers)) return false;
    return (
      isLocalName(`http://${host?.includes('@') ? '' : (host ?? '')}`) &&
      (origin === undefined || isLocalName(origin))
    );
  }

  #trusts(address: string): boolean {
    return isIP(address) !== 0 && this.#list.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
  }
}

function peerOf(request: IncomingMessage): string {
  return (request.socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/i, '');
}

/** Some proxies write `203.0.113.7:4711` or `[2001:db8::7]:4711`. */
function withoutPort(hop: string): string {
  const [, bracketed, plain] = /^(?:\[([^\]]+)\](?::\d+)?|([\d.]+):\d+)$/.exec(hop) ?? [];
  return bracketed ?? plain ?? hop;
}

function isLocalName(url: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(URL.parse(url)?.hostname ?? '');
}
