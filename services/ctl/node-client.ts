import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

/** Where a node is and how to be let in; what is not given is read from its data directory. */
export interface NodeOptions {
  readonly url?: string;
  readonly token?: string;
  readonly data: string;
}

/** The command cannot be carried out; the text says what to do. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
}

/** The Admin API of a running node. */
export class NodeClient {
  readonly #url: string;
  readonly #token: string;

  private constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
  }

  /** Throws CommandError when neither options nor the data directory tell where the node is. */
  static async open({ url, token, data }: NodeOptions): Promise<NodeClient> {
    return new NodeClient(
      url ?? (await readKept(join(data, 'url'), '--url')),
      token ?? (await readKept(join(data, 'secrets/admin-token'), '--token')),
    );
  }

  /** The parsed answer. Throws CommandError with the node's own words. */
  async request(method: 'GET' | 'POST' | 'DELETE', path: string, body?: object): Promise<unknown> {
    const text = await this.#fetch(method, path, body);
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw new CommandError(`${this.#url} does not answer as a node does: is the URL right?`);
    }
  }

  async #fetch(method: string, path: string, body: object | undefined): Promise<string> {
    let response: Response;
    try {
      response = await fetch(new URL(path, this.#url), {
        method,
        headers: {
          authorization: `Bearer ${this.#token}`,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
      const reason = cause instanceof Error ? cause.message : 'unknown failure';
      throw new CommandError(`no node answers at ${this.#url}: ${reason}`);
    }
    const text = await response.text();
    if (response.ok) return text;
    throw new CommandError(`the node refuses (${response.status}): ${reasonOf(text)}`);
  }
}

async function readKept(file: string, flag: string): Promise<string> {
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason = code === 'ENOENT' ? 'it is not there' : (code ?? 'it cannot be read');
    throw new CommandError(
      `${file}: ${reason}; give ${flag}, or --data with the directory of a node of this machine`,
    );
  }
}

function reasonOf(text: string): string {
  try {
    const { error } = JSON.parse(text) as { error?: string };
    return error ?? text;
  } catch {
    return text;
  }
}
