import type { DemoContext } from './demo-data.ts';

export interface BannerOptions {
  readonly url: string;
  readonly internalUrl: string;
  readonly dataDirectory: string;
  readonly token: string;
  /** The public key that signs heads of logs. */
  readonly nodeKey: string;
  /** Null when it is of no use any more. */
  readonly setupToken: string | null;
  /** What `kill -HUP` has to reach; `npm` passes no SIGHUP on. */
  readonly pid: number;
  readonly isOpen: boolean;
  readonly checksNearAccounts: boolean;
  readonly demo: readonly DemoContext[];
}

/** Tells a new user where everything is, and what to paste next. */
export function printBanner(options: BannerOptions): void {
  const { url, internalUrl, dataDirectory, token, nodeKey, setupToken, isOpen } = options;
  const { checksNearAccounts, demo, pid } = options;
  const port = new URL(url).port;
  const lines = [
    '',
    `Cairn is running on http://localhost:${port}`,
    '',
    `  JSON-RPC       POST http://localhost:${port}/jsonrpc`,
    `  Admin API      http://localhost:${port}/admin-api`,
    `  WebSocket      ws://localhost:${port}/ws`,
    `  health, stats  ${internalUrl}/livez, /readyz, /metrics`,
    `  data           ${dataDirectory}`,
    `  admin token    ${token}`,
    `  node key       ${nodeKey}   (proofs are signed by it)`,
    ...(setupToken === null
      ? []
      : [`  setup token    ${setupToken}   (for the first wallet that logs in)`]),
    `  process        ${pid}   (kill -HUP: read access.toml again, when it runs without a terminal)`,
    ...demo.map(({ name, contextId }) => `  ${name.padEnd(13)}  context ${contextId}`),
    ...(checksNearAccounts ? [] : ['  NEAR wallets   prove a key, not an account: see --near-rpc']),
    ...(isOpen ? ['  --open         callers on this machine need no token'] : []),
    '',
    ...tryIt(port, token, demo),
    'Ctrl-C stops it.',
    '',
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function tryIt(port: string, token: string, demo: readonly DemoContext[]): string[] {
  const contextId = demo.find(({ name }) => name === 'kv-store')?.contextId;
  const authorization = `-H 'authorization: Bearer ${token}'`;
  if (contextId === undefined) {
    return [
      'Try it:',
      '',
      `  curl -sw '\\n' ${authorization} http://localhost:${port}/admin-api/contexts`,
      '',
    ];
  }
  const call = (method: string, name: string, argsJson: object) => {
    const params = { contextId, method: name, argsJson };
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params });
    return `  curl -sw '\\n' ${authorization} -H 'content-type: application/json' -d '${body}' http://localhost:${port}/jsonrpc`;
  };
  return [
    'Write something, then read it:',
    '',
    call('mutate', 'set', { key: 'greeting', value: 'hello' }),
    '',
    call('query', 'get', { key: 'greeting' }),
    '',
  ];
}
