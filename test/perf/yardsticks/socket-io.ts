import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Server } from 'socket.io';
import { connectNats } from '#shared/bus/nats-bus.ts';
import { EVENTS_SUBJECT } from './events-subject.ts';

/** Socket.IO, emitting each message of the bus to everybody, over WebSockets only. */
const bus = await connectNats(process.env['NATS_URL'] ?? '', 'socket-io');
const http = createServer();
const io = new Server(http, { transports: ['websocket'], pingInterval: 3_600_000 });
bus.subscribe(EVENTS_SUBJECT, (payload) => {
  io.emit('event', Buffer.from(payload).toString());
});
http.listen({ port: 0, host: '127.0.0.1', backlog: 1_024 }, () => {
  const { port } = http.address() as AddressInfo;
  process.stdout.write(`${JSON.stringify({ port })}\n`);
});
