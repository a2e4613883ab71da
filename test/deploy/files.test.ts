import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { describe, expect, test } from 'vitest';
import { BUS_USERS } from '#shared/bus/subjects.ts';
import { environmentName, fieldsOf } from '#shared/config/fields.ts';
import type { Route } from '#shared/service/koa/koa-door.ts';
import type { ServiceDeps } from '#shared/service/service.ts';
import { adminConfigSchema } from '../../services/admin/config.ts';
import { adminRoutes } from '../../services/admin/http.ts';
import { authRoutes, type AuthRoutesOptions } from '../../services/auth/http.ts';
import { sectionsOf } from '../../services/ctl/sections.ts';

const ROOT = join(import.meta.dirname, '../..');
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8');
const yaml = <T>(path: string): T => parseDocument(read(path), { merge: true }).toJS() as T;

interface ComposeService {
  readonly image: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly secrets?: readonly (string | { source: string; target: string })[];
  readonly volumes?: readonly string[];
}
const compose = yaml<{
  services: Readonly<Record<string, ComposeService>>;
  secrets: Readonly<Record<string, { file: string }>>;
}>('docker-compose.yml');

describe('docker-compose.yml', () => {
  const services = Object.entries(compose.services);

  test('sets nothing that the services do not know, and no secret but by file', () => {
    const fields = fieldsOf(sectionsOf(undefined));
    const known = new Map(
      fields.flatMap(({ section, key, isSecret }) => [
        [environmentName(section, key), isSecret],
        ...(isSecret ? ([[environmentName(section, `${key}File`), false]] as const) : []),
      ]),
    );
    for (const [name, { environment = {} }] of services) {
      for (const variable of Object.keys(environment)) {
        if (!variable.startsWith('CAIRN_')) continue;
        expect([name, variable, known.get(variable)]).toEqual([name, variable, false]);
      }
    }
  });

  test('gives each service the secrets that it names, which the script makes', () => {
    const script = read('deploy/create-secrets.sh');
    for (const [name, { environment = {}, secrets = [] }] of services) {
      const targets = secrets.map((secret) =>
        typeof secret === 'string' ? secret : secret.target,
      );
      const sources = secrets.map((secret) =>
        typeof secret === 'string' ? secret : secret.source,
      );
      for (const source of sources) expect(Object.keys(compose.secrets)).toContain(source);
      for (const path of Object.values(environment)) {
        const [, target] = /^\/run\/secrets\/(.+)$/.exec(path) ?? [];
        if (target !== undefined)
          expect([name, targets]).toEqual([name, expect.arrayContaining([target])]);
      }
    }
    for (const user of BUS_USERS) expect(script).toContain(` ${user}`);
    for (const secret of Object.keys(compose.secrets)) {
      const isOfBus = /^nats-.+-password$/.test(secret);
      if (!isOfBus) expect(script).toContain(secret);
    }
  });

  test('pins every image to a version', () => {
    for (const [, { image }] of services)
      expect(image).toMatch(/^\$\{CAIRN_IMAGE:-cairn:local\}$|:v?\d/);
  });
});

describe('the ingress', () => {
  const locations = [
    ...read('deploy/ingress/nginx.conf').matchAll(
      /location ~ (\S+) \{[^}]*proxy_pass http:\/\/([\w-]+);/g,
    ),
  ].map(([, pattern = '', upstream = '']) => ({ pattern: new RegExp(pattern), upstream }));
  const upstreamOf = (path: string) =>
    locations.find(({ pattern }) => pattern.test(path))?.upstream ?? null;
  const deps = {} as ServiceDeps;
  const paths = (routes: readonly Route[]) => routes.map(({ path }) => path);

  test('brings every route to the service that has it', () => {
    const config = adminConfigSchema.parse({ secretKey: new Uint8Array(32) });
    for (const path of paths(authRoutes({ deps, config: {} } as AuthRoutesOptions))) {
      expect([path, upstreamOf(path)]).toEqual([path, 'auth']);
    }
    for (const path of paths(adminRoutes(deps, config))) {
      expect([path, upstreamOf(path)]).toEqual([path, 'admin']);
    }
    for (const [path, service] of [
      ['/jsonrpc', 'rpc-executor'],
      ['/jsonrpc/dev', 'rpc-executor'],
      ['/ws', 'subscription-fanout'],
      ['/metrics', null],
      ['/livez', null],
      ['/wsx', null],
    ]) {
      expect([path, upstreamOf(path ?? '')]).toEqual([path, service]);
    }
  });

  test('lets the wallet headers through, and nothing that a client says of its address', () => {
    const text = read('deploy/ingress/nginx.conf');

    expect(text).toMatch(/^ *underscores_in_headers on;$/m);
    expect(text).toMatch(/^ *proxy_set_header X-Forwarded-For \$remote_addr;$/m);
    expect(text).not.toContain('$proxy_add_x_forwarded_for');
  });

  test('knows every service that it routes to', () => {
    const [, names = ''] = /^SERVICES='(.+)'$/m.exec(read('deploy/ingress/ingress.sh')) ?? [];

    expect(names.split(' ').toSorted()).toEqual(
      [...new Set(locations.map(({ upstream }) => upstream))].toSorted(),
    );
  });
});

test('Prometheus asks every service of Cairn on its internal port', () => {
  const { scrape_configs: jobs } = yaml<{
    scrape_configs: { dns_sd_configs: { names: string[]; port: number }[] }[];
  }>('deploy/prometheus/prometheus.yml');
  const cairn = Object.entries(compose.services)
    .filter(([, { environment }]) => environment?.['CAIRN_NATS__USER'] !== undefined)
    .map(([name]) => name);

  expect(jobs[0]?.dns_sd_configs[0]?.names.toSorted()).toEqual(cairn.toSorted());
  expect(jobs[0]?.dns_sd_configs[0]?.port).toBe(2529);
});

test('the image holds no test, and runs as a user of its own', () => {
  const dockerfile = read('deploy/docker/Dockerfile');

  expect(dockerfile).toMatch(/^USER node$/m);
  expect(dockerfile).toContain('--omit=dev');
  expect(read('.dockerignore').split('\n')).toContain('**/*.test.ts');
  const entrypoint = read('deploy/docker/entrypoint.sh');
  const alone = readdirSync(join(ROOT, 'services')).filter(
    (name) =>
      name !== 'ctl' &&
      name !== 'standalone' &&
      readdirSync(join(ROOT, 'services', name)).includes('main.ts'),
  );
  for (const name of alone) expect(entrypoint).toMatch(new RegExp(`[ |]${name}[ )]`));
});
