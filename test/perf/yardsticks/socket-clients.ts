import { connect, type Socket } from 'node:net';

/**
 * WebSocket clients that do nothing but count, in a process of their own, driven over IPC: `open`,
 * `begin`, `latencies`, `close`. They are the same for every server that is measured.
 */
export type ClientsCommand =
  | {
      readonly kind: 'open';
      readonly port: number;
      readonly path: string;
      readonly sockets: number;
      /** One after another: what is sent, if anything, before a frame is waited for. */
      readonly hello: readonly (string | null)[];
      /** What one delivery is: a frame, or so many bytes of payload. */
      readonly unit: 'frame' | number;
      /**
       * Who comes back: the `i`th stands `i % span` transactions after `first`, which it says where
       * its hello has `SINCE`, and is there once it has every frame up to `head`.
       */
      readonly missed?: {
        readonly first: number;
        readonly span: number;
        readonly head: number;
        readonly framesPerTransaction: number;
      };
    }
  /** Tells `{round}` whenever every socket had another `units` deliveries. */
  | { readonly kind: 'begin'; readonly units: number; readonly roundsRecorded: number }
  /** Answers quantiles of the time from each round's start to its end on each socket. */
  | { readonly kind: 'latencies'; readonly startsMs: readonly number[] }
  | { readonly kind: 'close' };

export type ClientsReply =
  | { readonly kind: 'open' | 'begun' | 'closed' }
  | { readonly kind: 'round' }
  | { readonly kind: 'latencies'; readonly p50Ms: number; readonly p99Ms: number };

interface Client {
  readonly socket: Socket;
  readonly index: number;
  /** Bytes of the current frame that are still to come. */
  left: number;
  /** Beginning of a frame header that was cut. */
  header: Buffer;
  deliveries: number;
  rounds: number;
  onFrame: (() => void) | null;
}

const CONNECTS_AT_ONCE = 100;
export const SINCE = '$since';
const shared = Buffer.alloc(262_144);
let clients: Client[] = [];
let unit: 'frame' | number = 'frame';
let units = Number.POSITIVE_INFINITY;
let isMeasuring = false;
let behind = 0;
let arrivals = new Float64Array();

process.on('message', (command: ClientsCommand) => {
  run(command).then(
    (reply) => process.send?.(reply),
    (error: unknown) => {
      throw error;
    },
  );
});

async function run(command: ClientsCommand): Promise<ClientsReply> {
  if (command.kind === 'open') {
    ({ unit } = command);
    isMeasuring = false;
    clients = [];
    let next = 0;
    const opener = async () => {
      while (next < command.sockets) clients.push(await open(command, next++));
    };
    const atOnce = command.missed === undefined ? CONNECTS_AT_ONCE : command.sockets;
    await Promise.all(Array.from({ length: atOnce }, opener));
    return { kind: 'open' };
  }
  if (command.kind === 'begin') {
    ({ units } = command);
    arrivals = new Float64Array(command.roundsRecorded * clients.length);
    for (const client of clients) {
      client.deliveries = 0;
      client.rounds = 0;
    }
    behind = clients.length;
    isMeasuring = true;
    return { kind: 'begun' };
  }
  if (command.kind === 'latencies') {
    const samples = command.startsMs.flatMap((startMs, round) =>
      clients.map(({ index }) => (arrivals[round * clients.length + index] ?? 0) - startMs),
    );
    samples.sort((a, b) => a - b);
    const at = (q: number) => samples[Math.floor(samples.length * q)] ?? Number.NaN;
    return { kind: 'latencies', p50Ms: at(0.5), p99Ms: at(0.99) };
  }
  await Promise.all(
    clients.map(
      ({ socket }) =>
        new Promise<void>((resolve) => {
          socket.once('close', () => resolve());
          socket.destroy();
        }),
    ),
  );
  return { kind: 'closed' };
}

function open(
  { port, path, hello, missed }: Extract<ClientsCommand, { kind: 'open' }>,
  index: number,
): Promise<Client> {
  return new Promise((resolve, reject) => {
    let head: string | null = '';
    const socket = connect({
      port,
      host: '127.0.0.1',
      onread: {
        buffer: shared,
        callback: (size, bytes) => {
          const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, size);
          if (head === null) read(client, chunk);
          else onHead(chunk);
          return true;
        },
      },
    });
    const since = missed === undefined ? 0 : missed.first + (index % missed.span);
    const client: Client = {
      socket,
      index,
      left: 0,
      header: Buffer.alloc(0),
      deliveries: 0,
      rounds: 0,
      onFrame: null,
    };
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.write(
        `GET ${path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\nconnection: Upgrade\r\n` +
          'sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
      );
    });

    function onHead(chunk: Buffer): void {
      const text = (head ?? '') + chunk.toString('latin1');
      head = text;
      const end = text.indexOf('\r\n\r\n');
      if (end === -1) return;
      if (!text.startsWith('HTTP/1.1 101')) return void reject(new Error(text));
      head = null;
      greet(0);
      const rest = Buffer.from(text.slice(end + 4), 'latin1');
      if (rest.length > 0) read(client, rest);
    }

    function greet(step: number): void {
      const text = hello[step];
      if (text === undefined) return catchUp();
      if (text !== null) socket.write(maskedFrame(text.replace(SINCE, String(since))));
      client.onFrame = () => greet(step + 1);
    }

    function catchUp(): void {
      let left = missed === undefined ? 0 : (missed.head - since) * missed.framesPerTransaction;
      client.onFrame = () => {
        left -= 1;
        if (left <= 0) finish();
      };
      if (left === 0) finish();
    }

    function finish(): void {
      client.onFrame = null;
      resolve(client);
    }
  });
}

/** Walks the frames of a chunk without looking into them (RFC 6455 section 5.2). */
function read(client: Client, chunk: Buffer): void {
  const bytes = client.header.length === 0 ? chunk : Buffer.concat([client.header, chunk]);
  if (client.header.length > 0) client.header = Buffer.alloc(0);
  let at = 0;
  while (at < bytes.length) {
    if (client.left > 0) {
      const taken = Math.min(client.left, bytes.length - at);
      client.left -= taken;
      at += taken;
      if (unit !== 'frame') count(client, taken / unit);
      if (client.left === 0) endFrame(client);
      continue;
    }
    const size = (bytes[at + 1] ?? 0) & 127;
    const headerSize = size < 126 ? 2 : size === 126 ? 4 : 10;
    if (bytes.length - at < headerSize) {
      client.header = Buffer.from(bytes.subarray(at));
      return;
    }
    client.left =
      size < 126
        ? size
        : size === 126
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2));
    at += headerSize;
    if (client.left === 0) endFrame(client);
  }
}

function endFrame(client: Client): void {
  client.onFrame?.();
  if (unit === 'frame') count(client, 1);
}

function count(client: Client, deliveries: number): void {
  if (!isMeasuring) return;
  client.deliveries += deliveries;
  // A part of a byte's share is lost to rounding.
  while (client.deliveries >= units - 1e-6) {
    client.deliveries -= units;
    const at = client.rounds * clients.length + client.index;
    if (at < arrivals.length) arrivals[at] = Number(process.hrtime.bigint()) / 1e6;
    client.rounds += 1;
    behind -= 1;
    if (behind === 0) {
      behind = clients.length;
      process.send?.({ kind: 'round' } satisfies ClientsReply);
    }
  }
}

/** A masked frame with a mask of zeros: text, or what NATS takes, which is binary. */
function maskedFrame(text: string): Buffer {
  const size = Buffer.byteLength(text);
  const opcode = text.startsWith('CONNECT') ? 0x82 : 0x81;
  const header =
    size < 126
      ? Buffer.from([opcode, 0x80 | size, 0, 0, 0, 0])
      : Buffer.from([opcode, 0x80 | 126, size >> 8, size & 255, 0, 0, 0, 0]);
  return Buffer.concat([header, Buffer.from(text)]);
}
