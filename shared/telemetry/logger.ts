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
  return pino({ name, level, redact: { paths, censor: '[redacted]' } }, pino.destination(2));
}
