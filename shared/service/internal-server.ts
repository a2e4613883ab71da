import { createServer, type ServerResponse } from 'node:http';
import type { Registry } from 'prom-client';
import { listen } from './listen.ts';
import type { Service } from './service.ts';

export interface InternalServerOptions {
  readonly host: string;
  /** 0 chooses a free port. */
  readonly port: number;
  readonly services: readonly Pick<Service, 'name' | 'isReady'>[];
  readonly metrics: Registry;
}

/** What orchestrators and scrapers read; never exposed to clients. */
export interface InternalServer extends AsyncDisposable {
  readonly url: string;
}

/**
 * - `/livez`: 200 while the process answers.
 * - `/readyz`: 200 when every service is ready, else 503; the body names each service's state.
 * - `/metrics`: Prometheus text.
 */
export async function startInternalServer(options: InternalServerOptions): Promise<InternalServer> {
  const { host, port, services, metrics } = options;
  const server = createServer((request, response) => {
    switch (request.url?.split('?', 1)[0]) {
      case '/livez':
        return send(response, 200, 'alive\n');
      case '/readyz': {
        const isReady = services.every((service) => service.isReady());
        return send(response, isReady ? 200 : 503, describe(services));
      }
      case '/metrics':
        metrics.metrics().then(
          (text) => send(response, 200, text, metrics.contentType),
          () => send(response, 500, 'the metrics cannot be collected\n'),
        );
        return;
      default:
        send(response, 404, 'not found\n');
    }
  });
  const bound = await listen(server, host, port);
  return {
    url: `http://${host}:${bound}`,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function describe(services: InternalServerOptions['services']): string {
  return services
    .map((service) => `${service.name} ${service.isReady() ? 'ready' : 'not ready'}\n`)
    .join('');
}

function send(
  response: ServerResponse,
  status: number,
  body: string,
  type = 'text/plain; charset=utf-8',
): void {
  response.writeHead(status, { 'content-type': type, 'content-length': Buffer.byteLength(body) });
  response.end(body);
}
