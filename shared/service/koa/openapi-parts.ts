/** Parts of the OpenAPI document that are the same for every route. */

const header = (name: string, description: string) => ({
  type: 'apiKey',
  in: 'header',
  name,
  description,
});

export const SECURITY_SCHEMES = {
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'The admin token, or an access token of `generate-jwt-token`.',
  },
  token: { type: 'apiKey', in: 'query', name: 'token', description: 'The same in the query.' },
  wallet_type: header('wallet_type', 'JSON with the wallet’s type: `{"type":"ETH"}`.'),
  signing_key: header(
    'signing_key',
    'The client key: base58 of 08 01 12 20 and the 32 bytes of an Ed25519 key.',
  ),
  challenge: header('challenge', 'Base58 of the 32 bytes of SHA-256 of `challenge_payload`.'),
  challenge_payload: header(
    'challenge_payload',
    '`<unix ms> <nonce> <METHOD> <path>`: the signature is good for that request, once, within a ' +
      'minute. Without it, `challenge` is the SHA-256 of anything, for 30 days after the login.',
  ),
  signature: header(
    'signature',
    'Base58 of the client key’s Ed25519 signature over the 32 bytes of `challenge`.',
  ),
  context_id: header(
    'context_id',
    'Optional beside the others: a key that logged in for a context must not name another.',
  ),
  node_signature: header(
    'X-Signature',
    'Base58 of the node key’s Ed25519 signature over the digits of `X-Timestamp`.',
  ),
  node_timestamp: header('X-Timestamp', 'Unix seconds, at most 5 off.'),
} as const;

const SIGNED = { wallet_type: [], signing_key: [], challenge: [], signature: [] };

/** Each alone will do. */
export const SECURITY = [
  { bearer: [] },
  { token: [] },
  { ...SIGNED, challenge_payload: [] },
  SIGNED,
  { ...SIGNED, context_id: [] },
  { node_signature: [], node_timestamp: [] },
];

export const BYTES = {
  'application/octet-stream': { schema: { type: 'string', format: 'binary' } },
};

export const BYTES_PARAMETERS = [
  {
    name: 'Range',
    in: 'header',
    required: false,
    description: 'One range, such as `bytes=0-99`.',
    schema: { type: 'string' },
  },
  {
    name: 'If-Range',
    in: 'header',
    required: false,
    description: 'An `ETag`: the range of those bytes, or all where they are others.',
    schema: { type: 'string' },
  },
  {
    name: 'If-None-Match',
    in: 'header',
    required: false,
    description: 'The `ETag` of an earlier answer.',
    schema: { type: 'string' },
  },
];

const text = (description: string) => ({ description, schema: { type: 'string' } });
const BYTES_HEADERS = {
  ETag: text('Hex of the SHA-256 of the bytes, in quotes.'),
  'Accept-Ranges': text('`bytes`.'),
  'X-Blob-Id': text('The id.'),
  'X-Blob-Hash': text('Hex of the SHA-256 of the bytes.'),
  'X-Blob-Mime-Type': text('What the first bytes look like.'),
};
const ANY_BYTES = { '*/*': { schema: { type: 'string', format: 'binary' } } };

export const BYTES_ANSWERS = {
  200: { description: 'The bytes.', headers: BYTES_HEADERS, content: ANY_BYTES },
  206: {
    description: 'Those of the range.',
    headers: { ...BYTES_HEADERS, 'Content-Range': text('`bytes <first>-<last>/<size>`.') },
    content: ANY_BYTES,
  },
  304: { description: 'The caller has them.', headers: BYTES_HEADERS },
  416: {
    description: 'The range begins behind the end.',
    headers: { 'Content-Range': text('`bytes */<size>`.') },
    content: {
      'application/json': {
        schema: { type: 'object', properties: { error: { type: 'string' } }, required: ['error'] },
      },
    },
  },
} as const;
