import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, posix, relative } from 'node:path';
import { expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '../..');

/** Which packages may be imported where; anything else is a breach. */
const PACKAGE_HOMES: Readonly<Record<string, RegExp>> = {
  nats: /^shared\/bus\/nats-bus\.ts$/,
  pg: /^shared\/store\//,
  kysely: /^shared\/store\//,
  koa: /\/http\.ts$|\/routes\/|^shared\/service\/koa\//,
  '@koa/router': /\/http\.ts$|\/routes\/|^shared\/service\/koa\//,
  ws: /^services\/subscription-fanout\/(ws\/|service\.ts)/,
  commander: /^services\/(standalone|ctl)\/main\.ts$/,
  esbuild: /^$/,
  wabt: /^$/,
  assemblyscript: /^$/,
};

/** Folders of `shared` from the ground up: each may import those before it, and itself. */
const LAYERS: Readonly<Record<string, readonly string[]>> = {
  util: [],
  domain: ['util'],
  crypto: ['util', 'domain'],
  protocol: ['util', 'domain', 'crypto'],
  bus: ['util', 'domain', 'crypto', 'protocol'],
  store: ['util', 'domain', 'crypto', 'protocol'],
  runtime: ['util', 'domain', 'crypto', 'protocol'],
  telemetry: ['util', 'domain', 'crypto', 'protocol'],
  config: ['util', 'domain', 'crypto', 'protocol'],
  client: ['util', 'domain', 'crypto', 'protocol'],
  service: [
    'util',
    'domain',
    'crypto',
    'protocol',
    'bus',
    'store',
    'runtime',
    'telemetry',
    'config',
  ],
};

interface Import {
  readonly file: string;
  readonly target: string;
}

test('a service imports shared and itself, never another service', () => {
  const breaches = imports().filter(({ file, target }) => {
    const from = /^services\/([^/]+)\//.exec(file)?.[1];
    const to = /^services\/([^/]+)\/(.+)$/.exec(target);
    if (from === undefined || to === null || from === to[1]) return false;
    if (from === 'ctl') return to[2] !== 'config.ts';
    return !(from === 'standalone' && /^(service|config)\.ts$/.test(to[2] ?? ''));
  });

  expect(breaches).toEqual([]);
});

test('shared never imports a service, and its folders only import those below them', () => {
  const breaches = imports().filter(({ file, target }) => {
    const from = /^shared\/([^/]+)\//.exec(file)?.[1];
    if (from === undefined) return false;
    if (target.startsWith('services/')) return true;
    const to = /^shared\/([^/]+)\//.exec(target)?.[1];
    return to !== undefined && to !== from && !(LAYERS[from] ?? []).includes(to);
  });

  expect(breaches).toEqual([]);
});

test('what clients use needs nothing of Node, however far it reaches', () => {
  const all = imports();
  const reached = new Set(sources().filter((file) => file.startsWith('shared/client/')));
  for (const file of reached) {
    for (const { target } of all.filter((each) => each.file === file)) {
      if (target.startsWith('shared/')) reached.add(target);
    }
  }
  const breaches = [...reached].filter((file) => {
    const usesNode = all.some((each) => each.file === file && each.target.startsWith('node:'));
    return usesNode || /\b(Buffer|process)\b[.(]/.test(contents(file));
  });

  expect(reached.size).toBeGreaterThan(5);
  expect(breaches).toEqual([]);
});

test('each package is imported only where it belongs', () => {
  const breaches = imports().filter(({ file, target }) => {
    const home = PACKAGE_HOMES[target];
    return home !== undefined && !home.test(file);
  });

  expect(breaches).toEqual([]);
});

test('time and randomness come in as parameters', () => {
  const allowed = /^shared\/util\/(clock|random)\.ts$|^shared\/bus\/nats-bus\.ts$/;
  const breaches = sources().filter(
    (file) =>
      !allowed.test(file) && /\bDate\.now\(|\bMath\.random\(|\bnew Date\(\)/.test(contents(file)),
  );

  expect(breaches).toEqual([]);
});

test('no source reads pg results in binary, which corrupts them silently', () => {
  const breaches = sources().filter((file) => /\bbinary:\s*true\b/.test(contents(file)));

  expect(breaches).toEqual([]);
});

test('subjects are spelled in one file only', () => {
  const breaches = sources().filter(
    (file) => file !== 'shared/bus/subjects.ts' && /['"`]cairn\.v1\./.test(contents(file)),
  );

  expect(breaches).toEqual([]);
});

function imports(): Import[] {
  return sources().flatMap((file) => {
    const specifiers = contents(file).matchAll(
      /(?:^|\n)(?:import|export)[^'";]*?['"]([^'"]+)['"]/g,
    );
    return [...specifiers].map((match) => ({ file, target: resolveImport(file, match[1] ?? '') }));
  });
}

function resolveImport(file: string, specifier: string): string {
  if (specifier.startsWith('#shared/')) return specifier.slice(1);
  if (specifier.startsWith('.')) return posix.join(posix.dirname(file), specifier);
  return specifier;
}

function contents(file: string): string {
  return readFileSync(join(ROOT, file), 'utf8');
}

/** Every source file of shared and services that is not a test. */
function sources(): string[] {
  const found: string[] = [];
  const walk = (folder: string): void => {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name);
      if (statSync(path).isDirectory()) walk(path);
      else if (name.endsWith('.ts') && !name.endsWith('.test.ts')) found.push(relative(ROOT, path));
    }
  };
  for (const top of ['shared', 'services']) walk(join(ROOT, top));
  return found;
}
