import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { AppError, ERROR_TABLE } from '#shared/domain/app-error.ts';
import { retryAfterOf } from '#shared/service/authenticate.ts';

/** Answers an upgrade request with a plain-text refusal and ends the socket. */
export function refuseUpgrade(socket: Duplex, error: unknown): void {
  const known = error instanceof AppError ? error : new AppError('internal', 'internal error');
  const { status } = ERROR_TABLE[known.code];
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Connection: close',
    'Content-Type: text/plain; charset=utf-8',
    `Content-Length: ${Buffer.byteLength(known.message)}`,
    ...(known.code === 'rate_limited' ? [`Retry-After: ${retryAfterOf(known)}`] : []),
  ];
  socket.once('finish', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${known.message}`);
}
