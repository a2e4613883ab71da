import type { IncomingMessage } from 'node:http';
import type { z } from 'zod';
import { readBody } from '#shared/service/read-body.ts';

/** A body that cannot be taken: the status and the plain text of its refusal. */
export class BodyError extends Error {
  override readonly name = 'BodyError';
  readonly status: 400 | 415 | 422;

  constructor(status: 400 | 415 | 422, message: string) {
    super(message);
    this.status = status;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

/** Postgres has no text with U+0000, and nothing here means anything by it. */
function refuseNul(_key: string, value: unknown): unknown {
  if (typeof value !== 'string' || !value.includes('\0')) return value;
  throw new BodyError(
    422,
    'Failed to deserialize the JSON body into the target type: a text contains U+0000',
  );
}

/**
 * Reads and checks a JSON body. Throws BodyError: 415 for another content type, 400 for what is
 * no JSON, 422 for JSON of the wrong shape; AppError `payload_too_large` for one over the limit.
 */
export async function readJson<Schema extends z.ZodType>(
  request: IncomingMessage,
  schema: Schema,
  bytesMax: number,
): Promise<z.output<Schema>> {
  if (!/^application\/(.+\+)?json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new BodyError(415, 'Expected request with `Content-Type: application/json`');
  }
  const body = await readBody(request, bytesMax);
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(body), refuseNul);
  } catch (error) {
    if (error instanceof BodyError) throw error;
    const reason = error instanceof Error ? error.message : 'invalid JSON';
    throw new BodyError(400, `Failed to parse the request body as JSON: ${reason}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const reasons = parsed.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  throw new BodyError(
    422,
    `Failed to deserialize the JSON body into the target type: ${reasons.slice(0, 5).join('; ')}`,
  );
}
