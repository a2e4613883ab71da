import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A TCP proxy that can be cut, and mended, as a network is. */
export class CuttableProxy implements AsyncDisposable {
  readonly port: number;
  readonly #sockets = new Set<Socket>();
  readonly #close: () => Promise<void>;
  #isCut = false;

  private constructor(port: number, sockets: Set<Socket>, close: () => Promise<void>) {
    this.port = port;
    this.#sockets = sockets;
    this.#close = close;
  }

  static async start(host: string, targetPort: number): Promise<CuttableProxy> {
    const sockets = new Set<Socket>();
    let proxy: CuttableProxy | undefined;
    const server = createServer((inner) => {
      if (proxy === undefined || proxy.#isCut) return void inner.destroy();
      const outer = connect(targetPort, host);
      for (const [socket, other] of [
        [inner, outer],
        [outer, inner],
      ] as const) {
        sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => {
          sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    proxy = new CuttableProxy(port, sockets, async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    });
    return proxy;
  }

  cut(): void {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend(): void {
    this.#isCut = false;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
  }
}
