/** What the examples share: where the node is, and how to ask it. */

export const NODE_URL = process.env['CAIRN_URL'] ?? 'http://localhost:2528';

export interface Challenge {
  /** Base64 of 32 bytes. */
  readonly nonce: string;
  readonly contextId: string | null;
  /** Unix seconds. */
  readonly timestamp: number;
  readonly nodeSignature: string;
}

/** Posts JSON and gives the answer's JSON; throws with status and text when it is refused. */
export async function post<Answer>(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const response = await fetch(new URL(path, NODE_URL), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${text}`);
  return JSON.parse(text) as Answer;
}

export async function requestChallenge(): Promise<Challenge> {
  const { data } = await post<{ data: Challenge }>('/admin-api/request-challenge', {});
  return data;
}

/**
 * Adds the client key. The node's first wallet brings the setup token of the banner; a wallet that
 * the node does not know yet later on, the admin token; one that it knows, nothing.
 */
export async function addClientKey(login: object): Promise<void> {
  const setupToken = process.env['SETUP_TOKEN'];
  const adminToken = process.env['ADMIN_TOKEN'];
  await post(
    '/admin-api/add-client-key',
    { ...login, ...(setupToken === undefined ? {} : { setupToken }) },
    adminToken === undefined ? {} : { authorization: `Bearer ${adminToken}` },
  );
}
