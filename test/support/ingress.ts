import { createServer, type IncomingMessage, request, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';

export interface IngressRoute {
  readonly prefixes: readonly string[];
  /** Base URLs of the replicas that serve it now; asked one after the other. */
  readonly targets: () => readonly string[];
}

/** Routes path prefixes to services, as a cluster's ingress does; what cannot connect is passed by. */
export class Ingress implements AsyncDisposable {
  readonly #routes: readonly IngressRoute[];
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #turn = 0;

  private constructor(routes: readonly IngressRoute[]) {
    this.#routes = routes;
    this.#server = createServer((incoming, response) => {
      const targets = this.#targetsOf(incoming);
      const attempt = ([target, ...others]: readonly string[]): void => {
        if (target === undefined) return void response.writeHead(502).end();
        const headers = { ...incoming.headers, 'x-forwarded-for': '203.0.113.7' };
        const url = new URL(incoming.url ?? '/', target);
        const outgoing = request(url, { method: incoming.method, headers, agent: false });
        outgoing.on('response', (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(response);
        });
        outgoing.on('error', (error: NodeJS.ErrnoException) => {
          if (error.code === 'ECONNREFUSED') attempt(others);
          else if (response.headersSent) response.destroy();
          else response.writeHead(502).end(error.message);
        });
        outgoing.on('socket', (socket) => {
          socket.once('connect', () => incoming.pipe(outgoing));
        });
      };
      attempt(targets);
    });
    this.#server.on('upgrade', (incoming, socket, head) => this.#upgrade(incoming, socket, head));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(routes: readonly IngressRoute[]): Promise<Ingress> {
    const ingress = new Ingress(routes);
    await new Promise<void>((resolve) => ingress.#server.listen(0, '127.0.0.1', resolve));
    return ingress;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #targetsOf({ url = '/' }: IncomingMessage): readonly string[] {
    const [path = '/'] = url.split('?');
    const found = this.#routes.find(({ prefixes }) =>
      prefixes.some((prefix) => path === prefix || path.startsWith(`${prefix}/`)),
    );
    const targets = found?.targets() ?? [];
    this.#turn += 1;
    const first = targets.length === 0 ? 0 : this.#turn % targets.length;
    return [...targets.slice(first), ...targets.slice(0, first)];
  }

  #upgrade(incoming: IncomingMessage, socket: Duplex, head: Buffer): void {
    const [target] = this.#targetsOf(incoming);
    if (target === undefined) return void socket.destroy();
    const { hostname, port } = new URL(target);
    const upstream = connect(Number(port), hostname, () => {
      const headers = incoming.rawHeaders.flatMap((name, index, all) =>
        index % 2 === 0 ? [`${name}: ${all[index + 1]}`] : [],
      );
      upstream.write(`GET ${incoming.url} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n`);
      upstream.write(head);
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on('error', () => socket.destroy());
    socket.on('error', () => upstream.destroy());
    socket.on('close', () => upstream.destroy());
    upstream.on('close', () => socket.destroy());
  }
}
