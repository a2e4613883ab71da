import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const directory = import.meta.dirname;
const sums = new Map(
  readFileSync(join(directory, 'SHA256SUMS'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => {
      const [sum = '', path = ''] = line.split('  ');
      return [path, sum] as const;
    }),
);

test('the checked-in engine and its sources are those that were built', () => {
  for (const [path, sum] of sums) {
    const bytes = readFileSync(join(directory, path));
    expect(createHash('sha256').update(bytes).digest('hex'), path).toBe(sum);
  }
});

test('no source of the engine is without a checksum', () => {
  const sources = readdirSync(join(directory, 'crate/src')).map((name) => `crate/src/${name}`);

  expect([...sums.keys()].sort()).toEqual(
    [
      ...sources,
      'crate/.cargo/config.toml',
      'crate/Cargo.lock',
      'crate/Cargo.toml',
      'rhai.wasm',
    ].sort(),
  );
});

test('no path of the machine that built it is in the engine', () => {
  const text = readFileSync(join(directory, 'rhai.wasm')).toString('latin1');

  expect(text).toContain('/crates/rhai-');
  expect(text).not.toMatch(/\/(home|root|Users|tmp|work)\//);
});
