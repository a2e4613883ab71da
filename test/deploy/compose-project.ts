import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { freePort } from '../../services/standalone/processes.ts';
import type { Certificates } from '../support/certificates.ts';

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, '../..');
/** More of the 10.* networks than a machine uses. */
const SUBNETS = 200;

interface Container {
  readonly Name: string;
  readonly Config: { readonly User: string; readonly Labels: Readonly<Record<string, string>> };
  readonly State: {
    readonly Status: string;
    readonly ExitCode: number;
    readonly Health?: { readonly Status: string };
  };
  readonly HostConfig: {
    readonly ReadonlyRootfs: boolean;
    readonly Memory: number;
    readonly NanoCpus: number;
    readonly PidsLimit: number | null;
    readonly CapDrop: readonly string[] | null;
    readonly RestartPolicy: { readonly Name: string };
    readonly SecurityOpt: readonly string[] | null;
  };
  readonly NetworkSettings: {
    readonly Networks: Readonly<
      Record<string, { readonly IPAddress: string; readonly Gateway: string }>
    >;
  };
}

/** docker-compose.yml, brought up under a name, a network and ports of its own. */
export class ComposeProject implements AsyncDisposable {
  readonly name: string;
  readonly secrets: string;
  readonly httpPort: number;
  readonly httpsPort: number;
  readonly #environment: NodeJS.ProcessEnv;

  private constructor(secrets: string, ports: readonly [http: number, https: number]) {
    this.secrets = secrets;
    [this.httpPort, this.httpsPort] = ports;
    this.name = `cairntest${this.httpPort}`;
    this.#environment = {
      ...process.env,
      COMPOSE_PROJECT_NAME: this.name,
      CAIRN_IMAGE: `cairn:${this.name}`,
      CAIRN_SECRETS: secrets,
      CAIRN_HTTP_PORT: String(this.httpPort),
      CAIRN_HTTPS_PORT: String(this.httpsPort),
      CAIRN_EDGE_SUBNET: `10.213.${this.httpPort % SUBNETS}.0/24`,
      // The engine may not give more than it has itself.
      CAIRN_NOFILE: '4096',
    };
  }

  /** Makes the secrets; nothing is up yet. */
  static async prepare(
    makeTls: (folder: string) => Promise<Certificates>,
  ): Promise<{ readonly project: ComposeProject; readonly caFile: string }> {
    const folder = await mkdtemp(join(tmpdir(), 'cairn-compose-'));
    const secrets = join(folder, 'secrets');
    await run(join(ROOT, 'deploy/create-secrets.sh'), [secrets]);
    const { caFile, certFile, keyFile } = await makeTls(join(secrets, 'tls'));
    await run('cp', [certFile, join(secrets, 'tls/tls.crt')]);
    await run('cp', [keyFile, join(secrets, 'tls/tls.key')]);
    await run('chmod', ['-R', 'a+rX', join(secrets, 'tls')]);
    const project = new ComposeProject(secrets, [await freePort(), await freePort()]);
    return { project, caFile };
  }

  get url(): string {
    return `http://127.0.0.1:${this.httpPort}`;
  }

  get image(): string {
    return `cairn:${this.name}`;
  }

  async secret(name: string): Promise<string> {
    return (await readFile(join(this.secrets, name), 'utf8')).trim();
  }

  /** Runs `docker compose …`; rejects with what it wrote. */
  async compose(...args: readonly string[]): Promise<string> {
    const [program = '', ...before] = (process.env['CAIRN_TEST_COMPOSE'] ?? '').split(' ');
    return await this.#run(program, [...before, ...args]);
  }

  async docker(...args: readonly string[]): Promise<string> {
    return await this.#run('docker', args);
  }

  /** Sets how many replicas run, and leaves the others alone. */
  async scale(service: string, replicas: number): Promise<void> {
    const flags = ['-d', '--no-recreate', '--no-build', '--scale', `${service}=${replicas}`];
    // The other one has to be told, too: without, it goes back to what the file says.
    this.#scaled.set(service, replicas);
    const others = [...this.#scaled].flatMap(([name, count]) =>
      name === service ? [] : ['--scale', `${name}=${count}`],
    );
    await this.compose('up', ...flags, ...others);
  }

  readonly #scaled = new Map<string, number>();

  async containers(service?: string): Promise<readonly Container[]> {
    const label = `label=com.docker.compose.project=${this.name}`;
    const ids = (await this.docker('ps', '--all', '--quiet', '--filter', label)).trim();
    if (ids === '') return [];
    const all = JSON.parse(await this.docker('inspect', ...ids.split('\n'))) as Container[];
    return all.filter(
      ({ Config }) =>
        service === undefined || Config.Labels['com.docker.compose.service'] === service,
    );
  }

  /** URL of the database for its owner, on the address that only this machine reaches. */
  async ownerUrl(): Promise<string> {
    const [postgres] = await this.containers('postgres');
    const address = Object.values(postgres?.NetworkSettings.Networks ?? {})[0]?.IPAddress;
    return `postgres://cairn:${await this.secret('postgres-owner-password')}@${address}:5432/cairn`;
  }

  /** Address of this machine, as the containers see it. */
  async gateway(): Promise<string> {
    const [admin] = await this.containers('admin');
    return admin?.NetworkSettings.Networks[`${this.name}_edge`]?.Gateway ?? '';
  }

  /** The last lines of every service's log. */
  async logs(): Promise<string> {
    return await this.compose('logs', '--no-color', '--tail=30').catch(String);
  }

  async down(): Promise<void> {
    await this.compose('down', '--volumes', '--remove-orphans', '--timeout', '10');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
    await this.docker('image', 'rm', this.image).catch(() => undefined);
    await rm(join(this.secrets, '..'), { recursive: true, force: true });
  }

  async #run(program: string, args: readonly string[]): Promise<string> {
    const options = { cwd: ROOT, env: this.#environment, maxBuffer: 1e8 };
    try {
      return (await run(program, [...args], options)).stdout;
    } catch (error) {
      const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
      throw new Error(`${program} ${args.join(' ')}: ${(stderr + stdout).slice(-4_000)}`, {
        cause: error,
      });
    }
  }
}
