import { get, type ClientRequest, type IncomingMessage } from 'node:http';

export interface SseEvent {
  readonly id: string | null;
  readonly event: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** A client of server-sent events that keeps every event, in order (the WHATWG parsing rules). */
export class SseClient implements Disposable {
  readonly events: SseEvent[] = [];
  readonly sessionId: string;
  lastEventId = '';
  retryMs = 0;
  comments = 0;
  isEnded = false;
  readonly #request: ClientRequest;
  readonly #response: IncomingMessage;
  #rest = '';

  private constructor(request: ClientRequest, response: IncomingMessage, sessionId: string) {
    this.#request = request;
    this.#response = response;
    this.sessionId = sessionId;
    response.setEncoding('utf8');
    response.on('data', (text: string) => this.#read(text));
    response.on('close', () => {
      this.isEnded = true;
    });
    response.on('error', () => undefined);
  }

  /** Resolves with the first event; rejects with the status of a refusal. */
  static async connect(
    url: string,
    token: string | null,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<SseClient> {
    const authorization = token === null ? {} : { authorization: `Bearer ${token}` };
    const request = get(`${url}/sse`, { headers: { ...authorization, ...headers }, agent: false });
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', resolve);
      request.once('error', reject);
    });
    request.on('error', () => undefined);
    if (response.statusCode !== 200) {
      response.resume();
      throw new Error(`refused with ${response.statusCode}`);
    }
    const client = new SseClient(request, response, '');
    await new Promise<void>((resolve) => {
      response.on('data', () => {
        if (client.events.length > 0) resolve();
      });
    });
    Object.assign(client, { sessionId: client.events[0]?.data['session_id'] });
    return client;
  }

  /** The events of one type and context, in the order of arrival. */
  results(type: string, contextId?: string): Readonly<Record<string, unknown>>[] {
    return this.events
      .map(({ data }) => data['result'] as Readonly<Record<string, unknown>> | undefined)
      .filter((result) => result !== undefined)
      .filter((result) => result['type'] === type)
      .filter((result) => contextId === undefined || result['contextId'] === contextId);
  }

  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }

  [Symbol.dispose](): void {
    this.#request.destroy();
  }

  #read(text: string): void {
    const blocks = (this.#rest + text).split('\n\n');
    this.#rest = blocks.pop() ?? '';
    for (const block of blocks) {
      let data: string | null = null;
      let event = 'message';
      let id: string | null = null;
      for (const line of block.split('\n')) {
        if (line.startsWith(':')) this.comments += 1;
        const [, field, value = ''] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (field === 'data') data = value;
        if (field === 'event') event = value;
        if (field === 'id') id = value;
        if (field === 'retry') this.retryMs = Number(value);
      }
      if (id !== null) this.lastEventId = id;
      if (data !== null) {
        this.events.push({ id, event, data: JSON.parse(data) as SseEvent['data'] });
      }
    }
  }
}
