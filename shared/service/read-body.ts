import type { IncomingMessage } from 'node:http';
import { AppError } from '#shared/domain/app-error.ts';

/** Reads a request's body. Throws AppError `payload_too_large` without reading further. */
export function readBody(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const tooLarge = () => new AppError('payload_too_large', `the body is over ${bytesMax} bytes`);
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) {
    request.resume();
    return Promise.reject(tooLarge());
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > bytesMax) {
        reject(tooLarge());
        chunks.length = 0;
      } else chunks.push(chunk);
    });
    request.on('end', () =>
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)),
    );
    request.on('error', reject);
    request.on('aborted', () => reject(new AppError('invalid_request', 'the request was cut off')));
  });
}
