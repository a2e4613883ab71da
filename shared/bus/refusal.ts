import { AppError, ERROR_TABLE, type ErrorCode } from '#shared/domain/app-error.ts';

/** An AppError on its way back to who asked; anything else arrives as `internal`. */
export function encodeRefusal(error: unknown): Uint8Array {
  const known = error instanceof AppError ? error : new AppError('internal', 'internal error');
  const { code, message, details } = known;
  return Buffer.from(JSON.stringify({ code, message, details }));
}

export function decodeRefusal(payload: Uint8Array): AppError {
  const { code, message, details } = JSON.parse(Buffer.from(payload).toString()) as {
    code: ErrorCode;
    message: string;
    details: Record<string, string>;
  };
  return new AppError(code in ERROR_TABLE ? code : 'internal', message, details);
}
