import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { sampleConfig, showConfig } from './describe-config.ts';
import { ConfigError, type ConfigSources, loadConfig } from './load-config.ts';
import { readProgramArguments } from './program-arguments.ts';
import { secretBytes, secretText } from './secrets.ts';

const sections = {
  http: z.strictObject({
    port: z.int().min(0).max(65_535).default(2528).describe('The port.'),
    trustedProxies: z.array(z.string()).default([]).describe('Proxies.'),
    isOpen: z.boolean().default(false).describe('Open.'),
  }),
  postgres: z.strictObject({
    url: z.string().describe('The database.'),
    password: secretText().nullable().default(null).describe('Its password.'),
    dialect: z.enum(['a', 'b']).default('a').describe('Which.'),
    workers: z.int().min(1).max(4).nullable().default(null).describe('How many.'),
    urls: z.record(z.string(), z.url()).default({}).describe('By network.'),
    key: secretBytes(2)
      .default(new Uint8Array([1, 2]))
      .describe('A key.'),
  }),
};
const URL_SET = 'postgres.url=postgres://a@b/c';

function load(sources: Partial<ConfigSources> = {}) {
  return loadConfig(sections, { file: null, environment: {}, flags: [], ...sources });
}

function problemsOf(sources: Partial<ConfigSources>): readonly string[] {
  try {
    load(sources);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
}

const file = (text: string) => ({ path: 'cairn.toml', text });

describe('sources', () => {
  test('defaults give way to the file, the file to the environment, all to flags', () => {
    const text = '[http]\nport = 1\ntrustedProxies = ["10.0.0.0/8"]\n[postgres]\nurl = "file"\n';
    const environment = {
      CAIRN_HTTP__PORT: '2',
      CAIRN_HTTP__IS_OPEN: 'true',
      CAIRN_POSTGRES__URL: 'environment',
    };

    const { values } = load({ file: file(text), environment, flags: ['http.port=3'] });

    expect(values.http).toEqual({ port: 3, trustedProxies: ['10.0.0.0/8'], isOpen: true });
    expect(values.postgres).toMatchObject({ url: 'environment', dialect: 'a', workers: null });
  });

  test('text from the environment becomes what the key is', () => {
    const environment = {
      CAIRN_POSTGRES__URL: 'x',
      CAIRN_POSTGRES__WORKERS: '4',
      CAIRN_POSTGRES__URLS: '{"testnet":"https://rpc.example"}',
      CAIRN_POSTGRES__KEY: '0aff',
      CAIRN_HTTP__TRUSTED_PROXIES: '10.0.0.1, 10.0.0.2',
      CAIRN_HTTP__PORT: '',
    };

    const { values } = load({ environment });

    expect(values.postgres.workers).toBe(4);
    expect(values.postgres.urls).toEqual({ testnet: 'https://rpc.example' });
    expect([...values.postgres.key]).toEqual([10, 255]);
    expect(values.http.trustedProxies).toEqual(['10.0.0.1', '10.0.0.2']);
    expect(values.http.port).toBe(2528);
  });

  test('sections of other services in the same file and environment are left alone', () => {
    const text = '[auth]\nwhatever = 1\n';
    const environment = { CAIRN_AUTH__WHATEVER: '1', CAIRN_TEST_POSTGRES: 'x', OTHER__X: '1' };

    expect(problemsOf({ file: file(text), environment, flags: [URL_SET] })).toEqual([]);
  });
});

describe('secrets', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cairn-config-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  test('can come from a file, in every source', () => {
    const path = join(folder, 'password');
    writeFileSync(path, 'from the file\n');
    const of = (sources: Partial<ConfigSources>) =>
      load({ ...sources, flags: [URL_SET, ...(sources.flags ?? [])] }).values.postgres.password;

    expect(of({ environment: { CAIRN_POSTGRES__PASSWORD_FILE: path } })).toBe('from the file');
    expect(of({ flags: [`postgres.passwordFile=${path}`] })).toBe('from the file');
    const text = `[postgres]\npasswordFile = ${JSON.stringify(path)}\n`;
    expect(of({ file: file(text) })).toBe('from the file');
    expect(of({ file: file(text), flags: ['postgres.password=nearer'] })).toBe('nearer');
    expect(problemsOf({ flags: [URL_SET, `postgres.passwordFile=${folder}/none`] })).toEqual([
      `--set postgres.passwordFile: the file ${folder}/none cannot be read (ENOENT)`,
    ]);
  });

  test('are neither shown nor named in an error', () => {
    const flags = ['postgres.url=postgres://me:hidden@host/db', 'postgres.password=hidden'];

    const shown = showConfig(sections, load({ flags }));

    expect(shown).not.toContain('hidden');
    expect(shown).toContain('password = "[redacted]" # --set postgres.password');
    expect(shown).toContain('url = "postgres://me:[redacted]@host/db"');
    expect(problemsOf({ flags: [URL_SET, 'postgres.key=hidden'] })).toEqual([
      '--set postgres.key: the value cannot be used; allowed: 4 hexadecimal digits',
    ]);
  });
});

describe('errors', () => {
  test('name the source, the key and what is allowed, all at once', () => {
    const text = '[http]\nprot = 1\nport = "x"\n[htpt]\n';
    const environment = { CAIRN_HTTP__POTR: '1', CAIRN_POSTGRES__DIALECT: 'c' };

    expect(problemsOf({ file: file(text), environment, flags: ['x', 'http.port'] })).toEqual([
      'cairn.toml: http.prot: unknown key: did you mean port?; [http] has port, trustedProxies, isOpen',
      'cairn.toml: unknown section [htpt]: did you mean http?',
      'environment variable CAIRN_HTTP__POTR is unknown: did you mean CAIRN_HTTP__PORT?',
      '--set x: it is given as section.key=value',
      '--set http.port: it is given as section.key=value',
      'cairn.toml: http.port: "x" cannot be used; allowed: a whole number from 0 to 65535',
      'postgres.url is missing: set url in [postgres] of the file, CAIRN_POSTGRES__URL, or --set postgres.url=…; allowed: a text',
      'environment variable CAIRN_POSTGRES__DIALECT: "c" cannot be used; allowed: one of a, b',
    ]);
  });

  test('tell where the TOML is broken, and what stands twice', () => {
    expect(problemsOf({ file: file('[http]\nport = \n'), flags: [URL_SET] })[0]).toMatch(
      /^cairn\.toml, line 2: /,
    );
    const flags = [URL_SET, 'postgres.password=a', 'postgres.passwordFile=b'];
    expect(problemsOf({ flags })).toEqual([
      '--set postgres.passwordFile: postgres.password is given already by --set postgres.password',
    ]);
  });

  test('of the command line say how it is used', () => {
    expect(() => readProgramArguments(['--nope'], {})).toThrow('usage: [--config');
    expect(() => readProgramArguments(['--config', '/none'], {})).toThrow(
      '/none: the configuration cannot be read (ENOENT)',
    );
  });
});

test('a sample holds every key and is, with its comments taken away, the defaults', () => {
  const text = sampleConfig(sections)
    .replace('# url = ""', 'url = "x"')
    .replaceAll(/^# (?=\w+ = [^"\n])/gm, '')
    .replaceAll(/^# (?=\w+ = "[^"])/gm, '')
    .replace(/^key = .*$/m, '');

  expect(load({ file: file(text) }).values).toEqual(load({ flags: ['postgres.url=x'] }).values);
  for (const key of ['password', 'workers', 'urls']) expect(text).toMatch(new RegExp(`${key} = `));
});
