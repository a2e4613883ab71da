import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Server as NetServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { LinkedList } from '#shared/util/linked-list.ts';
import { listen } from './listen.ts';
import type { HttpDoor } from './service.ts';

export interface DrainOptions {
  /** How long connections without a request stay open for one that is on its way. */
  readonly lingerMs: number;
  /** How long requests under way may take. */
  readonly withinMs: number;
}

/** Longer than an ingress keeps idle connections, so that it closes them and never we. */
const KEEP_ALIVE_MS = 75_000;

/** Serves doors on one or more addresses, by path prefix; drains without cutting a request off. */
export class DoorServer implements AsyncDisposable {
  readonly #doors: readonly HttpDoor[];
  readonly #servers: Server[] = [];
  readonly #underWay = new LinkedList<ServerResponse>();
  #isDraining = false;
  #onIdle: (() => void) | null = null;

  constructor(doors: readonly HttpDoor[]) {
    this.#doors = doors;
  }

  /** Port 0 chooses a free one. Gives the port. */
  async listen(host: string, port: number): Promise<number> {
    const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS });
    server.on('request', this.#serve);
    server.on('upgrade', this.#upgrade);
    const bound = await listen(server, host, port);
    this.#servers.push(server);
    return bound;
  }

  /** Accepts nothing more; resolves once what is under way is answered, or too late. */
  async drain({ lingerMs, withinMs }: DrainOptions): Promise<void> {
    this.#isDraining = true;
    for (const response of this.#underWay) endConnectionAfter(response);
    // An HTTP server would also close idle connections, on which a request may be arriving.
    for (const server of this.#servers) NetServer.prototype.close.call(server);
    await wait(lingerMs);
    for (const server of this.#servers) server.closeIdleConnections();
    if (this.#underWay.size === 0) return;
    const idle = new Promise<void>((resolve) => {
      this.#onIdle = resolve;
    });
    const late = new AbortController();
    await Promise.race([idle, wait(withinMs, undefined, late).catch(() => undefined)]);
    late.abort();
  }

  /** Cuts what is still open. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) {
      server.close();
      server.closeAllConnections();
    }
  }

  readonly #serve = (request: IncomingMessage, response: ServerResponse): void => {
    const door = doorOf(this.#doors, request);
    if (door === undefined) return void response.writeHead(404, { 'content-length': 0 }).end();
    if (door.stays?.(request) === true) return door.handle(request, response);
    const place = this.#underWay.add(response);
    response.once('close', () => {
      this.#underWay.remove(place);
      if (this.#underWay.size === 0) this.#onIdle?.();
    });
    if (this.#isDraining) endConnectionAfter(response);
    door.handle(request, response);
  };

  readonly #upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const door = doorOf(this.#doors, request);
    if (door?.upgrade !== undefined) door.upgrade(request, socket, head);
    else socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n');
  };
}

function endConnectionAfter(response: ServerResponse): void {
  if (!response.headersSent) response.setHeader('connection', 'close');
}

function doorOf(doors: readonly HttpDoor[], request: IncomingMessage): HttpDoor | undefined {
  const path = (request.url ?? '/').split('?', 1)[0] ?? '/';
  return doors.find(({ prefixes }) =>
    prefixes.some((prefix) => path === prefix || path.startsWith(`${prefix}/`)),
  );
}
