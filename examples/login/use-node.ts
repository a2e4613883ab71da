import { join } from 'node:path';
import type { ClientKey } from './client-key.ts';
import { NODE_URL, post } from './node.ts';

interface Tokens {
  readonly access_token: string;
  readonly refresh_token: string;
}

/** What a client key is for: signed requests, and tokens for those that sign nothing. */
export async function useNode(clientKey: ClientKey): Promise<void> {
  // 1. A protected route, by headers that are good for this one request.
  const admin = async <Data>(path: string, body: unknown) =>
    (await post<{ data: Data }>(path, body, clientKey.headers('POST', path))).data;
  const { applicationId } = await admin<{ applicationId: string }>(
    '/admin-api/install-dev-application',
    { path: join(import.meta.dirname, '../kv-store/kv-store.wasm') },
  );
  const { contextId, memberPublicKey } = await admin<Record<string, string>>(
    '/admin-api/contexts',
    { applicationId },
  );
  console.log(`opened the context ${contextId}`);

  // 2. A call of the application, by headers as well.
  const call = async (method: string, argsJson: object, headers: Record<string, string>) =>
    await post<{ result?: { output: unknown }; error?: unknown }>(
      '/jsonrpc',
      {
        jsonrpc: '2.0',
        id: 1,
        method: 'execute',
        params: { contextId, method, argsJson, executorPublicKey: memberPublicKey },
      },
      headers,
    );
  const set = { key: 'greeting', value: 'hello' };
  const signed = await call('set', set, clientKey.headers('POST', '/jsonrpc'));
  console.log('set by signed headers:', JSON.stringify(signed));

  // 3. A token for one identity of one context: an hour long, then refreshed.
  let tokens = await admin<Tokens>('/admin-api/generate-jwt-token', {
    contextId,
    executorPublicKey: memberPublicKey,
  });
  const bearer = () => ({ authorization: `Bearer ${tokens.access_token}` });
  console.log('get by a token:', JSON.stringify(await call('get', { key: 'greeting' }, bearer())));

  // 4. The same token on the socket.
  const event = await eventOf(contextId ?? '', tokens.access_token, async () => {
    await call('set', { key: 'greeting', value: 'hello again' }, bearer());
  });
  console.log('seen on the socket:', event);

  // 5. A refresh token is good once, and gives a new pair.
  const refreshed = await post<{ data: Tokens }>('/admin-api/refresh-jwt-token', {
    refreshToken: tokens.refresh_token,
  });
  tokens = refreshed.data;
  console.log(
    'get by a refreshed token:',
    JSON.stringify(await call('get', { key: 'greeting' }, bearer())),
  );
}

/** Subscribes, acts, and gives the first event of that context; rejects when the socket closes. */
async function eventOf(
  contextId: string,
  token: string,
  act: () => Promise<void>,
): Promise<string> {
  const url = new URL(`/ws?token=${token}`, NODE_URL);
  url.protocol = url.protocol.replace('http', 'ws');
  const socket = new WebSocket(url);
  try {
    return await new Promise<string>((resolve, reject) => {
      socket.onclose = ({ code, reason }) => reject(new Error(`closed: ${code} ${reason}`));
      socket.onopen = () => {
        const params = { contextIds: [contextId] };
        socket.send(JSON.stringify({ id: 1, method: 'subscribe', params }));
      };
      socket.onmessage = ({ data }) => {
        const { id, error, result } = JSON.parse(String(data));
        if (error !== undefined) reject(new Error(String(data)));
        // The answer to `subscribe` has its id; events have none.
        else if (id === 1) act().catch(reject);
        else if (result?.type === 'ExecutionEvent') resolve(eventText(result.data.events[0]));
      };
    });
  } finally {
    socket.close();
  }
}

function eventText({ kind, data }: { kind: string; data: number[] }): string {
  return `${kind} ${Buffer.from(data).toString()}`;
}
