import type { z } from 'zod';
import { AppError } from '#shared/domain/app-error.ts';
import type { DoorContext } from './koa-door.ts';

/**
 * The query parameters of a request by a schema that refuses those it does not know; `token` is
 * the door's own. Throws AppError `invalid_request`.
 */
export function readQuery<Schema extends z.ZodObject>(
  context: DoorContext,
  schema: Schema,
): z.output<Schema> {
  const { token: _, ...query } = context.query;
  const parsed = schema.safeParse(query);
  if (parsed.success) return parsed.data;
  const reasons = parsed.error.issues.map(({ path, message }) =>
    path.length === 0 ? message : `${path.join('.')}: ${message}`,
  );
  const reason = reasons.slice(0, 5).join('; ');
  throw new AppError('invalid_request', `Invalid query parameters: ${reason}`);
}
