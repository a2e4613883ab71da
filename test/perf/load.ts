import { connect, type Socket } from 'node:net';

export interface LoadOptions {
  readonly port: number;
  readonly connections: number;
  /** Answers within this time are not counted. */
  readonly warmUpMs: number;
  readonly durationMs: number;
  /** Body of the `i`th request of a connection, one at a time on each. */
  readonly body: (connection: number, i: number) => string;
  /** Path and header lines beside the body. */
  readonly path: string;
  readonly headers?: readonly string[];
  /** Throws when an answer is not what it should be. */
  readonly check: (body: string) => void;
}

export interface LoadFigures {
  /** All answers, those of the warm-up too. */
  readonly answered: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

const ANSWER_MS = 10_000;

/** HTTP/1.1 requests over keep-alive connections, each with one request under way. */
export async function runLoad(options: LoadOptions): Promise<LoadFigures> {
  const { connections, warmUpMs, durationMs } = options;
  const startMs = performance.now() + warmUpMs;
  const endMs = startMs + durationMs;
  const latencies: number[] = [];
  let answered = 0;
  const record = (sentMs: number, nowMs: number) => {
    answered += 1;
    if (nowMs >= startMs && nowMs < endMs) latencies.push(nowMs - sentMs);
  };
  await Promise.all(
    Array.from({ length: connections }, (_, i) => runConnection(options, i, endMs, record)),
  );
  latencies.sort((a, b) => a - b);
  return {
    answered,
    perSecond: (latencies.length / durationMs) * 1_000,
    p50Ms: quantile(latencies, 0.5),
    p99Ms: quantile(latencies, 0.99),
  };
}

function runConnection(
  options: LoadOptions,
  connection: number,
  endMs: number,
  record: (sentMs: number, nowMs: number) => void,
): Promise<void> {
  const { port, path, headers = [], body, check } = options;
  const head = [`POST ${path} HTTP/1.1`, 'host: localhost', 'content-type: application/json'];
  const prefix = `${[...head, ...headers].join('\r\n')}\r\ncontent-length: `;
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let sent = 0;
    let sentMs = 0;
    let received = '';
    const send = () => {
      const text = body(connection, sent);
      sent += 1;
      sentMs = performance.now();
      socket.write(`${prefix}${Buffer.byteLength(text)}\r\n\r\n${text}`);
    };
    socket.setEncoding('latin1');
    socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error(`no answer in ${ANSWER_MS} ms`)));
    socket.once('connect', send);
    socket.on('data', (data: string) => {
      received += data;
      const answer = bodyOf(received);
      if (answer === null) return;
      received = '';
      const nowMs = performance.now();
      record(sentMs, nowMs);
      try {
        check(answer);
      } catch (error) {
        socket.destroy();
        reject(error instanceof Error ? error : new Error(String(error)));
        return;
      }
      if (nowMs < endMs) send();
      else socket.end();
    });
    socket.once('error', reject);
    socket.once('close', () => resolve());
  });
}

/** The body of a complete response, else null. */
function bodyOf(text: string): string | null {
  const end = text.indexOf('\r\n\r\n');
  if (end === -1) return null;
  const head = text.slice(0, end).toLowerCase();
  if (!head.startsWith('http/1.1 200')) throw new Error(text);
  const length = Number(/content-length: (\d+)/.exec(head)?.[1]);
  if (Number.isNaN(length)) throw new Error(`no content-length:\n${text}`);
  const body = text.slice(end + 4);
  return body.length < length ? null : body;
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? Number.NaN;
}
