/** SQLSTATE classes and codes after which the same statement may well succeed. */
const TRANSIENT_SQLSTATES =
  /^(08(000|001|003|004|006)|57P0[1235]|53...|40001|40P01|55006|25006|25P03)$/;

/** Node's codes for a connection that is not there or broke. */
const TRANSIENT_CODES =
  /^(ECONN(REFUSED|RESET|ABORTED)|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|EADDRNOTAVAIL)$/;

/**
 * True when Postgres was not there, went away or was too busy: the outcome of the statement is
 * unknown. False for an error that Postgres gave about the statement itself.
 */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as { code?: unknown };
  if (typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code)) return TRANSIENT_SQLSTATES.test(code);
  if (typeof code === 'string') return TRANSIENT_CODES.test(code);
  return /connection|timeout|terminated|not queryable/i.test(error.message);
}
