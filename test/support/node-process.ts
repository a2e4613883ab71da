import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from './client.ts';

export interface NodeProcessOptions {
  readonly data: string;
  /** 0 chooses free ports. */
  readonly port?: number;
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

const ROOT = join(import.meta.dirname, '../..');

/** A node as `npm start` runs it: a process of its own. */
export class NodeProcess implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | NodeJS.Signals>;
  stdout = '';
  stderr = '';

  private constructor({ data, port = 0, args = [], env = {} }: NodeProcessOptions) {
    this.#child = spawn(
      process.execPath,
      [
        join(ROOT, 'services/standalone/main.ts'),
        `--data=${data}`,
        `--port=${port}`,
        '--internal-port=0',
        ...args,
      ],
      { cwd: ROOT, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.#child.stdout?.on('data', (text: Buffer) => {
      this.stdout += text.toString();
    });
    this.#child.stderr?.on('data', (text: Buffer) => {
      this.stderr += text.toString();
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => resolve(code ?? signal ?? 'SIGKILL'));
    });
  }

  /** Runs until the banner is printed; rejects with what it wrote when it ends before. */
  static async start(options: NodeProcessOptions): Promise<NodeProcess> {
    const node = new NodeProcess(options);
    const ready = new Promise<void>((resolve) => {
      node.#child.stdout?.on('data', () => {
        if (node.stdout.includes('Ctrl-C stops it.')) resolve();
      });
    });
    const ended = node.#exited.then((how) => {
      throw new Error(`the node ended by ${how}: ${node.stderr}${node.stdout}`);
    });
    await Promise.race([ready, ended]);
    ended.catch(() => undefined);
    return node;
  }

  /** Runs a node that is expected to end by itself. */
  static async run(options: NodeProcessOptions): Promise<{ code: unknown; stderr: string }> {
    const node = new NodeProcess(options);
    const code = await node.#exited;
    return { code, stderr: node.stderr };
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the node did not start');
    return this.#child.pid;
  }

  get url(): string {
    return this.#printed(/running on (http:\S+)/);
  }

  get internalUrl(): string {
    return this.#printed(/health, stats +(http:[^\s/]*\/\/[^\s/]+)/);
  }

  get client(): Client {
    return new Client(this.url, this.#printed(/admin token +(\S+)/));
  }

  /** Sends a signal and gives the exit code, or the signal that ended it. */
  async end(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    this.#child.kill(signal);
    return await this.#exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.end('SIGINT');
  }

  #printed(pattern: RegExp): string {
    const found = pattern.exec(this.stdout)?.[1];
    if (found === undefined) throw new Error(`the banner has no ${pattern}:\n${this.stdout}`);
    return found;
  }
}

/** The servers that a node embedded in its data directory. */
export interface EmbeddedServers {
  readonly postgresPid: number;
  readonly natsPid: number;
  /** URL of the role that owns the tables. */
  readonly ownerUrl: string;
}

export async function readEmbeddedServers(data: string): Promise<EmbeddedServers> {
  const read = (name: string) => readFile(join(data, name), 'utf8');
  const postmaster = (await read('postgres/postmaster.pid')).split('\n');
  const password = (await read('secrets/postgres-password')).trim();
  return {
    postgresPid: Number(postmaster[0]),
    natsPid: Number(await read('nats/nats.pid')),
    ownerUrl: `postgres://postgres:${password}@127.0.0.1:${postmaster[3]}/postgres`,
  };
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
