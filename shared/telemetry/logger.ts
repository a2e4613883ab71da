import { type Logger, pino } from 'pino';

export interface LoggerOptions {
  readonly name: string;
  readonly level: string;
}

/** Fields that may carry a secret, at any depth that a log line of ours has. */
const SECRET_FIELDS = [
  'token',
  'password',
  'authorization',
  'secretKey',
  'privateKey',
  'adminToken',
];

/** One line of JSON per event on standard error; secrets are masked by field name. */
export function createLogger({ name, level }: LoggerOptions): Logger {
  const paths = SECRET_FIELDS.flatMap((field) => [field, `*.${field}`, `*.*.${field}`]);
  return pino(
    { name, level, redact: { paths, censor: '[redacted]' }, serializers: { err: describeError } },
    pino.destination({ dest: 2, sync: true }),
  );
}

/** Libraries hang whole connections on their errors: only what says what happened is logged. */
function describeError(error: unknown): unknown {
  if (!(error instanceof Error)) return { message: String(error) };
  const { name, message, stack } = error;
  const { code } = error as { code?: unknown };
  return { name, message, code, stack };
}
