/**
 * Builds the example applications: `node examples/build.ts`, or with `--check` proves that what is
 * checked in is what the sources build to, byte by byte.
 */
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import asc from 'assemblyscript/asc';
import { build } from 'esbuild';

const EXAMPLES = ['kv-store', 'only-peers'] as const;
const SCRIPTS = ['forum-typescript/forum'] as const;
const SUMS_FILE = 'SHA256SUMS';

const directory = import.meta.dirname;
const isCheck = process.argv.includes('--check');
const files = new Map<string, Uint8Array>();
const sums: string[] = [];

// The compiler's stub runtime needs a start function; the SDK's takes its place.
asc.libraryFiles['rt/stub'] = await readFile(join(directory, 'sdk/assembly/runtime.ts'), 'utf8');

for (const example of EXAMPLES) {
  const path = `${example}/${example}.wasm`;
  const wasm = await compile(`${example}/assembly/index.ts`);
  refuseStartFunction(path, wasm);
  add(path, wasm);
}
for (const script of SCRIPTS) add(`${script}.js`, await bundle(`${script}.ts`));
files.set(SUMS_FILE, Buffer.from(sums.join('')));

for (const [path, bytes] of files) await (isCheck ? check(path, bytes) : write(path, bytes));

function add(path: string, bytes: Uint8Array): void {
  files.set(path, bytes);
  sums.push(`${createHash('sha256').update(bytes).digest('hex')}  ${path}\n`);
}

/** Makes one module of a TypeScript file and all it imports, except what the engine gives. */
async function bundle(entry: string): Promise<Uint8Array> {
  const { outputFiles } = await build({
    entryPoints: [join(directory, entry)],
    bundle: true,
    format: 'esm',
    target: 'es2023',
    external: ['cairn'],
    charset: 'utf8',
    write: false,
  });
  const [file] = outputFiles;
  if (file === undefined) throw new Error(`${entry} is bundled to nothing`);
  return file.contents;
}

/** Compiles one entry file, named relative to this directory. */
async function compile(entry: string): Promise<Uint8Array> {
  let wasm: Uint8Array | undefined;
  const options = [
    ...[entry, '--baseDir', directory, '--outFile', 'out.wasm', '--runtime', 'stub'],
    ...['-O3', '--converge', '--noAssert', '--use', 'abort=sdk/assembly/index/onAbort'],
  ];
  const { error, stderr } = await asc.main(options, {
    writeFile: (_name, contents) => {
      if (typeof contents !== 'string') wasm = contents;
    },
  });
  if (error !== null) throw new Error(`${entry} does not compile\n${stderr.toString()}`);
  if (wasm === undefined) throw new Error(`${entry} compiled to nothing`);
  return wasm;
}

/** A module with a start function cannot be installed; top-level initialisers make one. */
function refuseStartFunction(path: string, wasm: Uint8Array): void {
  const START_SECTION = 8;
  let offset = 8;
  while (offset < wasm.length) {
    const section = wasm[offset++];
    if (section === START_SECTION) throw new Error(`${path} has a start function`);
    let size = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = wasm[offset++] ?? 0;
      size |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    offset += size;
  }
}

async function write(path: string, bytes: Uint8Array): Promise<void> {
  await writeFile(join(directory, path), bytes);
  console.log(`${path}: ${bytes.length} bytes`);
}

async function check(path: string, bytes: Uint8Array): Promise<void> {
  const present = await readFile(join(directory, path)).catch(() => undefined);
  const isSame = present !== undefined && Buffer.compare(present, bytes) === 0;
  console.log(`${path}: ${isSame ? 'as built' : 'differs, run "npm run build:examples"'}`);
  if (!isSame) process.exitCode = 1;
}
