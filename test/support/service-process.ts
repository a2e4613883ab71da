import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { eventually } from './eventually.ts';

/** On a machine that does much else at the same time. */
const START_MS = 60_000;
const ROOT = join(import.meta.dirname, '../..');

export type ServiceName = 'auth' | 'admin' | 'rpc-executor' | 'subscription-fanout' | 'sync';

interface LogLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** One service, run alone as in a cluster: a process of its own. */
export class ServiceProcess implements AsyncDisposable {
  readonly name: ServiceName;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | NodeJS.Signals>;
  /** An ingress that looks at readiness has taken it out of service. */
  isEnding = false;
  stderr = '';

  /** `settings`: environment variables by name, all of which begin with `CAIRN_`. */
  constructor(
    name: ServiceName,
    settings: Readonly<Record<string, string>>,
    args: readonly string[] = [],
  ) {
    this.name = name;
    this.#child = spawn(process.execPath, [join(ROOT, `services/${name}/main.ts`), ...args], {
      cwd: ROOT,
      env: { ...process.env, CAIRN_HTTP__PORT: '0', CAIRN_INTERNAL__PORT: '0', ...settings },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.#child.stderr?.on('data', (text: Buffer) => {
      this.stderr += text.toString();
    });
    this.#exited = new Promise((resolve) => {
      this.#child.once('exit', (code, signal) => resolve(code ?? signal ?? 'SIGKILL'));
    });
  }

  /** Resolves once it serves; rejects with its log when it ends before. */
  static async start(
    name: ServiceName,
    settings: Readonly<Record<string, string>>,
  ): Promise<ServiceProcess> {
    const service = new ServiceProcess(name, settings);
    const served = eventually(() => service.logged('serving') !== undefined, START_MS);
    const ended = service.exited.then((how) => {
      throw new Error(`${name} ended by ${how}: ${service.stderr}`);
    });
    served.catch(() => undefined);
    ended.catch(() => undefined);
    try {
      await Promise.race([served, ended]);
      return service;
    } catch (error) {
      await service[Symbol.asyncDispose]();
      throw error;
    }
  }

  get exited(): Promise<number | NodeJS.Signals> {
    return this.#exited;
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  get url(): string {
    return `http://127.0.0.1:${String(this.#serving['port'])}`;
  }

  get internalUrl(): string {
    return String(this.#serving['internalUrl']);
  }

  /** The first line of the log with that message. */
  logged(message: string): LogLine | undefined {
    return this.stderr
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line) as LogLine)
      .find(({ msg }) => msg === message);
  }

  /** Sends a signal and gives the exit code, or the signal that ended it. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | NodeJS.Signals> {
    this.signal(signal);
    return await this.#exited;
  }

  signal(signal: NodeJS.Signals): void {
    this.isEnding ||= signal === 'SIGTERM';
    this.#child.kill(signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.isRunning) return;
    this.signal('SIGCONT');
    await this.end('SIGKILL');
  }

  get #serving(): LogLine {
    const line = this.logged('serving');
    if (line === undefined) throw new Error(`${this.name} does not serve: ${this.stderr}`);
    return line;
  }
}
