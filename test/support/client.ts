import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Engine } from '#shared/domain/engine.ts';

export interface RpcAnswer {
  readonly id: unknown;
  readonly result?: {
    readonly output: unknown;
    readonly sequence?: string;
    readonly hash?: string;
    readonly fuelUsed?: string;
  };
  readonly error?: {
    readonly type: string;
    readonly data: unknown;
    readonly fuelUsed?: string;
  };
}

export interface CallOptions {
  readonly requestId?: string;
  readonly executorPublicKey?: string;
  readonly reportFuel?: boolean;
}

/** The doors of a node as a client uses them. */
export class Client {
  readonly url: string;
  readonly token: string;

  constructor(url: string, token: string) {
    this.url = url;
    this.token = token;
  }

  /** Any request, with the token. */
  fetch(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (!headers.has('authorization')) headers.set('authorization', `Bearer ${this.token}`);
    return fetch(new URL(path, this.url), { ...init, headers });
  }

  post(path: string, body: unknown): Promise<Response> {
    return this.fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    });
  }

  /** The `data` of a successful Admin API answer; throws with its text otherwise. */
  async admin<T = Record<string, unknown>>(path: string, body?: unknown): Promise<T> {
    const response = body === undefined ? await this.fetch(path) : await this.post(path, body);
    const text = await response.text();
    if (!response.ok) throw new Error(`${response.status} ${text}`);
    return (JSON.parse(text) as { data: T }).data;
  }

  async rpc(method: string, params: unknown, id: unknown = 1): Promise<RpcAnswer> {
    const response = await this.post('/jsonrpc', { jsonrpc: '2.0', id, method, params });
    const text = await response.text();
    if (response.status !== 200) throw new Error(`${response.status} ${text}`);
    return JSON.parse(text) as RpcAnswer;
  }

  mutate(contextId: string, method: string, argsJson: unknown, options: CallOptions = {}) {
    return this.rpc('mutate', { contextId, method, argsJson, ...options });
  }

  query(contextId: string, method: string, argsJson: unknown = {}) {
    return this.rpc('query', { contextId, method, argsJson });
  }

  execute(contextId: string, method: string, argsJson: unknown = {}, options: CallOptions = {}) {
    return this.rpc('execute', { contextId, method, argsJson, ...options });
  }

  /** Installs an example application by name, or a module by its bytes. */
  async install(
    application: 'kv-store' | 'only-peers' | Uint8Array,
    engine: Engine = 'wasm',
  ): Promise<string> {
    if (typeof application === 'string') {
      const path = join(import.meta.dirname, `../../examples/${application}/${application}.wasm`);
      return await this.#installFile(path, engine);
    }
    const folder = await mkdtemp(join(tmpdir(), 'cairn-test-'));
    try {
      const path = join(folder, 'guest');
      await writeFile(path, application);
      return await this.#installFile(path, engine);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  async #installFile(path: string, engine: Engine): Promise<string> {
    const body = { path, metadata: [], engine };
    const data = await this.admin('/admin-api/install-dev-application', body);
    return String(data['applicationId']);
  }

  async createContext(applicationId: string, args: unknown = {}): Promise<string> {
    const initializationParams = [...Buffer.from(JSON.stringify(args))];
    const data = await this.admin('/admin-api/contexts', { applicationId, initializationParams });
    return String(data['contextId']);
  }

  async open(application: 'kv-store' | 'only-peers' | Uint8Array): Promise<string> {
    return await this.createContext(await this.install(application));
  }

  async deleteContext(contextId: string): Promise<boolean> {
    const response = await this.fetch(`/admin-api/contexts/${contextId}`, { method: 'DELETE' });
    const { data } = (await response.json()) as { data: { isDeleted: boolean } };
    return data.isDeleted;
  }
}
