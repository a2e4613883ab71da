import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';
import { connectNats } from '#shared/bus/nats-bus.ts';
import { EVENTS_SUBJECT } from './events-subject.ts';

/** What fan-out costs with the library alone: `ws.send` in a loop, for each message of the bus. */
const bus = await connectNats(process.env['NATS_URL'] ?? '', 'ws-fanout');
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', backlog: 1_024 });
server.on('connection', (socket) => socket.send('hello'));
bus.subscribe(EVENTS_SUBJECT, (payload) => {
  const text = Buffer.from(payload).toString();
  for (const client of server.clients) client.send(text);
});
server.on('listening', () => {
  const { port } = server.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});
