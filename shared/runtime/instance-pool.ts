/** One instance, and how to bring it back to the state it was made in. */
interface Prepared {
  readonly instance: WebAssembly.Instance;
  readonly memory: WebAssembly.Memory;
  /** Bytes of the memory when it was made. */
  readonly size: number;
  /** The pages that are not zero, with their place. */
  readonly pages: readonly { readonly at: number; readonly bytes: Uint8Array }[];
  readonly globals: readonly (readonly [global: WebAssembly.Global, value: unknown])[];
}

export interface InstancePoolOptions {
  readonly module: WebAssembly.Module;
  readonly imports: WebAssembly.Imports;
  /** As `ParsedModule.globals`. */
  readonly globals: readonly string[] | null;
  /** Brings a new instance to the state that each call starts from. */
  readonly prepare?: (exports: WebAssembly.Exports) => void;
}

const PAGE_BYTES = 4_096;
/** Above this, clearing the memory costs more than a fresh instance. */
const REUSED_BYTES_MAX = 4 * 1_048_576;

/**
 * Gives each execution an instance that cannot be told from a fresh one. Making one reserves
 * memory and drives the garbage collector, so the last is kept: its memory, its size and its
 * mutable globals are put back, and `parseModule` has ruled out everything else that could last.
 */
export class InstancePool {
  readonly #options: InstancePoolOptions;
  #kept: Prepared | null = null;

  constructor(options: InstancePoolOptions) {
    this.#options = options;
  }

  /** Makes the first instance. Throws what `prepare` throws. */
  warmUp(): void {
    this.#kept ??= this.#prepare();
  }

  /** Calls `use` with an instance's exports; one that throws is not used again. */
  run(use: (exports: WebAssembly.Exports) => void): void {
    const prepared = this.#take();
    use(prepared.instance.exports);
    this.#keep(prepared);
  }

  #take(): Prepared {
    const kept = this.#kept;
    this.#kept = null;
    return kept ?? this.#prepare();
  }

  #prepare(): Prepared {
    const { module, imports, prepare, globals: names } = this.#options;
    const instance = new WebAssembly.Instance(module, imports);
    prepare?.(instance.exports);
    const memory = instance.exports['memory'] as WebAssembly.Memory;
    const size = memory.buffer.byteLength;
    const isKept = names !== null && size <= REUSED_BYTES_MAX;
    const globals = (names ?? []).map((name) => {
      const global = instance.exports[name] as WebAssembly.Global;
      return [global, global.value] as const;
    });
    return { instance, memory, size, pages: isKept ? pagesOf(memory) : [], globals };
  }

  /** Resets at once, so that nothing of one context waits in memory for the next. */
  #keep({ instance, memory, size, pages, globals }: Prepared): void {
    if (this.#options.globals === null || size > REUSED_BYTES_MAX) return;
    // A memory cannot shrink, and a NaN loses its payload on the way through JavaScript.
    if (memory.buffer.byteLength !== size) return;
    if (globals.some(([, value]) => Number.isNaN(value))) return;
    const bytes = new Uint8Array(memory.buffer);
    bytes.fill(0);
    for (const page of pages) bytes.set(page.bytes, page.at);
    for (const [global, value] of globals) global.value = value;
    this.#kept = { instance, memory, size, pages, globals };
  }
}

function pagesOf(memory: WebAssembly.Memory): { at: number; bytes: Uint8Array }[] {
  const pages: { at: number; bytes: Uint8Array }[] = [];
  for (let at = 0; at < memory.buffer.byteLength; at += PAGE_BYTES) {
    const bytes = new Uint8Array(memory.buffer, at, PAGE_BYTES);
    if (bytes.some((byte) => byte !== 0)) pages.push({ at, bytes: bytes.slice() });
  }
  return pages;
}
