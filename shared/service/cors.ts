/** Any origin may call: what protects a door is the token, which no browser sends by itself. */
export const CORS_HEADERS = {
  'access-control-allow-origin': '*',
  'access-control-allow-headers': '*, authorization',
  'access-control-allow-methods': 'POST, GET, DELETE, PUT, OPTIONS',
  'access-control-allow-private-network': 'true',
} as const;

/** All that an answer needs: the others are read from the answer to a preflight only. */
export const ANY_ORIGIN = ['access-control-allow-origin', '*'] as const;
