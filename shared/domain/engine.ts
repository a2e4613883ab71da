/** What runs an application: a WebAssembly module, or a script in one of these languages. */
export const ENGINES = ['wasm', 'javascript', 'rhai'] as const;
export type Engine = (typeof ENGINES)[number];

/** Engines that run a script which nobody installed. */
export const SCRIPT_ENGINES = ['javascript', 'rhai'] as const;
export type ScriptEngine = (typeof SCRIPT_ENGINES)[number];

const EXTENSIONS: Readonly<Record<string, Engine>> = {
  wasm: 'wasm',
  js: 'javascript',
  mjs: 'javascript',
  rhai: 'rhai',
};
/** The first four bytes of every WebAssembly module. */
const WASM_MAGIC = [0x00, 0x61, 0x73, 0x6d];

/** The engine of a file, by its first bytes, else by its name; null when neither tells. */
export function detectEngine(name: string, bytes: Uint8Array): Engine | null {
  if (WASM_MAGIC.every((byte, i) => bytes[i] === byte)) return 'wasm';
  const extension = /\.([a-z]+)$/i.exec(name)?.[1]?.toLowerCase() ?? '';
  return Object.hasOwn(EXTENSIONS, extension) ? (EXTENSIONS[extension] ?? null) : null;
}
