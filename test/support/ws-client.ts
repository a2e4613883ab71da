import { WebSocket } from 'ws';

export interface Frame {
  readonly id: unknown;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly type: string; readonly data: unknown };
}

/** A WebSocket client that keeps every frame, in order. */
export class WsClient implements AsyncDisposable {
  readonly socket: WebSocket;
  readonly frames: Frame[] = [];
  closed: { readonly code: number; readonly reason: string } | null = null;

  private constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on('message', (data: Buffer) => this.frames.push(JSON.parse(data.toString()) as Frame));
    socket.on('close', (code, reason) => {
      this.closed = { code, reason: reason.toString() };
    });
    socket.on('error', () => undefined);
  }

  /** Resolves once the connection is open; rejects with the status that refused it. */
  static async connect(
    url: string,
    token: string | null,
    protocols: string[] = [],
  ): Promise<WsClient> {
    const headers = token === null ? {} : { authorization: `Bearer ${token}` };
    const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`, protocols, { headers });
    const client = new WsClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('open', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  send(frame: unknown): void {
    this.socket.send(typeof frame === 'string' ? frame : JSON.stringify(frame));
  }

  /** Sends a request and gives its answer. */
  async request(frame: { readonly id: number; readonly [key: string]: unknown }): Promise<Frame> {
    const answer = new Promise<Frame>((resolve, reject) => {
      this.socket.on('message', (data: Buffer) => {
        const received = JSON.parse(data.toString()) as Frame;
        if (received.id === frame.id) resolve(received);
      });
      this.socket.once('close', () => reject(new Error('the connection was closed')));
    });
    this.send(frame);
    return await answer;
  }

  subscribe(contextIds: readonly string[], since?: Readonly<Record<string, unknown>>, id = 1) {
    const params = since === undefined ? { contextIds } : { contextIds, since };
    return this.request({ id, method: 'subscribe', params });
  }

  /** Events of one type and context, in the order of arrival. */
  events(type: string, contextId?: string): Readonly<Record<string, unknown>>[] {
    return this.frames
      .filter(({ id }) => id === null)
      .flatMap(({ result }) => (result === undefined ? [] : [result]))
      .filter((event) => event['type'] === type)
      .filter((event) => contextId === undefined || event['contextId'] === contextId);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.socket.readyState === WebSocket.CLOSED) return;
    await new Promise<void>((resolve) => {
      this.socket.once('close', () => resolve());
      this.socket.terminate();
    });
  }
}
