/**
 * The parts of `@calimero-network/calimero-client` 1.1.0 that are tested. Its own declarations
 * import each other without file extensions, which Node's module resolution does not find.
 */
declare module '@calimero-network/calimero-client/lib/rpc/jsonrpc.js' {
  export interface Answer {
    readonly result?: { readonly output?: unknown } | null;
    readonly error?: { readonly code: number; readonly error: { readonly name: string } } | null;
  }

  export class JsonRpcClient {
    constructor(baseUrl: string, path: string, timeoutMs?: number);
    execute(
      params: {
        readonly contextId: string;
        readonly method: string;
        readonly argsJson: unknown;
        readonly executorPublicKey: string;
      },
      config: { readonly headers: Readonly<Record<string, string>> },
    ): Promise<Answer>;
  }
}

declare module '@calimero-network/calimero-client/lib/subscriptions/ws.js' {
  export interface NodeEvent {
    readonly contextId: string;
    readonly type: string;
    readonly data: unknown;
  }

  export class WsSubscriptionsClient {
    constructor(baseUrl: string, path: string);
    connect(): Promise<void>;
    disconnect(): void;
    subscribe(contextIds: readonly string[]): void;
    unsubscribe(contextIds: readonly string[]): void;
    addCallback(callback: (event: NodeEvent) => void): void;
  }
}
