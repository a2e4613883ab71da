/** Codes that a connection is closed with (RFC 6455 section 7.4). */
export const CLOSE = {
  /** A permission was taken back, or the credentials were. */
  policyViolation: 1008,
  /** Come back, to another replica or a little later. */
  serviceRestart: 1012,
  /** The connection took nothing for too long; what it lacks is served on a new one. */
  slowConsumer: 4008,
  /** No credentials in time, or they expired: come back with fresh ones. */
  unauthenticated: 4401,
} as const;
