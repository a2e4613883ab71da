/** The closed list of refusals. Doors translate a code to their dialect in one table each. */
export type ErrorCode =
  | 'invalid_request'
  | 'unauthorized'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'payload_too_large'
  | 'range_not_satisfiable'
  | 'rate_limited'
  | 'context_not_found'
  | 'application_not_installed'
  | 'function_call_failed'
  | 'stale_epoch'
  | 'overloaded'
  | 'unavailable'
  | 'timeout'
  | 'not_implemented'
  | 'internal';

/** HTTP status of each code, and whether the caller may simply try again. */
export const ERROR_TABLE = {
  invalid_request: { status: 400, retryable: false },
  unauthorized: { status: 401, retryable: false },
  forbidden: { status: 403, retryable: false },
  not_found: { status: 404, retryable: false },
  conflict: { status: 409, retryable: false },
  payload_too_large: { status: 413, retryable: false },
  range_not_satisfiable: { status: 416, retryable: false },
  rate_limited: { status: 429, retryable: true },
  context_not_found: { status: 404, retryable: false },
  application_not_installed: { status: 404, retryable: false },
  function_call_failed: { status: 500, retryable: false },
  stale_epoch: { status: 503, retryable: true },
  overloaded: { status: 503, retryable: true },
  unavailable: { status: 503, retryable: true },
  timeout: { status: 504, retryable: true },
  not_implemented: { status: 501, retryable: false },
  internal: { status: 500, retryable: false },
} as const satisfies Record<ErrorCode, { status: number; retryable: boolean }>;

/** An expected refusal with a message that is safe to show to the caller. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, details: Readonly<Record<string, string>> = {}) {
    super(message);
    this.code = code;
    this.details = details;
  }
}
