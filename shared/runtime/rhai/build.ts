/**
 * Builds the Rhai engine: `npm run build:rhai`, or with `--check` proves that what is checked in
 * is what the sources build to, byte by byte. Needs Rust; who only runs Cairn does not.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/** The bytes depend on the compiler, and fuel on the bytes: a newer one is a deliberate change. */
const RUST_RELEASE = '1.95.0';
const TARGET = 'wasm32-unknown-unknown';
const WASM_FILE = 'rhai.wasm';
const SUMS_FILE = 'SHA256SUMS';
const INSTALL = `rustup toolchain install ${RUST_RELEASE} --target ${TARGET} --profile minimal`;

const directory = import.meta.dirname;
const crate = join(directory, 'crate');
const targetDirectory = join(directory, '../../../node_modules/.cache/cairn-rhai');
const isCheck = process.argv.includes('--check');

const prefixes = [...requireToolchain(), ...sourcesOfCrates()];
const rustFlags = `target.${TARGET}.rustflags = ${JSON.stringify(prefixes.map(remapped))}`;
const options = ['--release', '--locked', '--target-dir', targetDirectory, '--config', rustFlags];
run('cargo', ['build', ...options]);
const wasm = await readFile(join(targetDirectory, TARGET, 'release/cairn_rhai.wasm'));
for (const { from } of prefixes) {
  if (wasm.includes(from)) throw new Error(`${WASM_FILE} contains the path ${from}`);
}

const sums = [sumLine(WASM_FILE, wasm)];
for (const path of await sources()) sums.push(sumLine(path, await readFile(join(directory, path))));
for (const [path, bytes] of [
  [WASM_FILE, wasm],
  [SUMS_FILE, Buffer.from(sums.join(''))],
] as const) {
  await (isCheck ? check(path, bytes) : write(path, bytes));
}

interface Prefix {
  readonly from: string;
  readonly to: string;
}

/** Throws what is missing and how to get it. */
function requireToolchain(): Prefix[] {
  const version = run('rustc', ['--version', '--verbose']);
  const release = /^release: (.*)$/m.exec(version)?.[1];
  if (release !== RUST_RELEASE) {
    throw new Error(
      `rustc is ${release}, and ${WASM_FILE} is built with ${RUST_RELEASE}: ` +
        `${INSTALL} && RUSTUP_TOOLCHAIN=${RUST_RELEASE} npm run build:rhai`,
    );
  }
  if (!existsSync(run('rustc', ['--print', 'target-libdir', '--target', TARGET]).trim())) {
    throw new Error(`rustc has no standard library for ${TARGET}: rustup target add ${TARGET}`);
  }
  const commit = /^commit-hash: (.*)$/m.exec(version)?.[1];
  const sysroot = run('rustc', ['--print', 'sysroot']).trim();
  // With the component rust-src, the compiler names the library's files by where they are.
  return [{ from: join(sysroot, 'lib/rustlib/src/rust'), to: `/rustc/${commit}` }];
}

/** Where the crates are that this one is built from. */
function sourcesOfCrates(): Prefix[] {
  const metadata = run('cargo', ['metadata', '--format-version', '1', '--locked']);
  const { packages } = JSON.parse(metadata) as {
    readonly packages: readonly {
      readonly name: string;
      readonly version: string;
      readonly manifest_path: string;
    }[];
  };
  return packages.map(({ name, version, manifest_path: path }) => ({
    from: dirname(path),
    to: `/crates/${name}-${version}`,
  }));
}

function remapped({ from, to }: Prefix): string {
  return `--remap-path-prefix=${from}=${to}`;
}

function run(command: string, args: readonly string[]): string {
  const { error, status, stdout } = spawnSync(command, args, {
    cwd: crate,
    encoding: 'utf8',
    maxBuffer: 64 * 1_048_576,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  if (error !== undefined) {
    throw new Error(`${command} cannot be run; with rustup from https://rustup.rs: ${INSTALL}`, {
      cause: error,
    });
  }
  if (status !== 0) throw new Error(`${command} ${args[0]} failed`);
  return stdout;
}

async function sources(): Promise<string[]> {
  const modules = (await readdir(join(crate, 'src'))).sort();
  const settings = ['crate/.cargo/config.toml', 'crate/Cargo.lock', 'crate/Cargo.toml'];
  return [...settings, ...modules.map((name) => `crate/src/${name}`)];
}

function sumLine(path: string, bytes: Uint8Array): string {
  return `${createHash('sha256').update(bytes).digest('hex')}  ${path}\n`;
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(join(directory, path), bytes);
  console.log(`${path}: ${bytes.length} bytes`);
}

async function check(path: string, bytes: Uint8Array): Promise<void> {
  const present = await readFile(join(directory, path)).catch(() => undefined);
  const isSame = present !== undefined && Buffer.compare(present, bytes) === 0;
  console.log(`${path}: ${isSame ? 'as built' : 'differs, run "npm run build:rhai"'}`);
  if (!isSame) process.exitCode = 1;
}
