import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** Accepts connections on `host`; port 0 chooses a free one. Gives the port. */
export function listen(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EADDRINUSE') return reject(error);
      const advice =
        'stop the program that uses it, or choose another one with --port or --internal-port';
      reject(new Error(`port ${port} on ${host} is taken: ${advice}`, { cause: error }));
    });
    server.listen({ host, port, backlog: 1_024 }, () => {
      resolve((server.address() as AddressInfo).port);
    });
  });
}
