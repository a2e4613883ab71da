import { GuestFault } from './effects.ts';

/** The state that each call starts from. */
interface Image {
  /** Bytes of the memory. */
  readonly size: number;
  /** The pages that are not zero, with their place. */
  readonly pages: readonly Page[];
  readonly globals: readonly unknown[];
}

interface Page {
  readonly at: number;
  readonly bytes: Uint8Array;
}

interface Made {
  readonly instance: WebAssembly.Instance;
  readonly memory: WebAssembly.Memory;
  readonly globals: readonly WebAssembly.Global[];
}

/** The instance that waits for its next call: pools of the same module and imports can share it. */
export class Spare {
  made: Made | null = null;
  /** What it was put back to. */
  image: Image | null = null;
  /** The first image, of which later ones share the pages that are the same. */
  base: Image | null = null;
}

export interface InstancePoolOptions {
  readonly module: WebAssembly.Module;
  readonly imports: WebAssembly.Imports;
  /** As `ParsedModule.globals`. */
  readonly globals: readonly string[] | null;
  /** Brings a new instance to the state that each call starts from. */
  readonly prepare?: (exports: WebAssembly.Exports) => void;
  readonly spare?: Spare;
}

const PAGE_BYTES = 4_096;
const ZERO_PAGE = new Uint8Array(PAGE_BYTES);
const WASM_PAGE_BYTES = 65_536;
/** Above this, clearing the memory costs more than a fresh instance. */
const REUSED_BYTES_MAX = 4 * 1_048_576;

/**
 * Gives each execution an instance that cannot be told from a fresh one. Making one reserves
 * memory and drives the garbage collector, so the last is kept: its memory, its size and its
 * mutable globals are put back, and `instrument` has ruled out everything else that could last.
 * What `prepare` does is done once: later instances are made from what it left behind.
 */
export class InstancePool {
  readonly #options: InstancePoolOptions;
  readonly #spare: Spare;
  #image: Image | null = null;

  constructor(options: InstancePoolOptions) {
    this.#options = options;
    this.#spare = options.spare ?? new Spare();
  }

  /** Makes the first instance. Throws what `prepare` throws. */
  warmUp(): void {
    this.#spare.made = this.#make();
    this.#spare.image = this.#image;
  }

  /** Calls `use` with an instance's exports; one that trapped is not used again. */
  run(use: (exports: WebAssembly.Exports) => void): void {
    const made = this.#take();
    try {
      use(made.instance.exports);
    } catch (error) {
      if (error instanceof GuestFault) this.#keep(made);
      throw error;
    }
    this.#keep(made);
  }

  #take(): Made {
    const { made, image } = this.#spare;
    this.#spare.made = null;
    if (made === null) return this.#make();
    if (image === this.#image) return made;
    if (this.#image?.size !== made.memory.buffer.byteLength) return this.#make();
    putBack(made, this.#image);
    return made;
  }

  #make(): Made {
    const { module, imports, prepare, globals: names } = this.#options;
    const instance = new WebAssembly.Instance(module, imports);
    const made = {
      instance,
      memory: instance.exports['memory'] as WebAssembly.Memory,
      globals: (names ?? []).map((name) => instance.exports[name] as WebAssembly.Global),
    };
    const image = this.#image;
    if (image !== null && prepare !== undefined) {
      made.memory.grow((image.size - made.memory.buffer.byteLength) / WASM_PAGE_BYTES);
      putBack(made, image);
      return made;
    }
    prepare?.(instance.exports);
    // What was prepared is copied into a fresh instance too.
    const isKept = prepare !== undefined || made.memory.buffer.byteLength <= REUSED_BYTES_MAX;
    if (image === null && isKept && names !== null) {
      this.#image = imageOf(made, this.#spare.base);
      this.#spare.base ??= this.#image;
    }
    return made;
  }

  /** Resets at once, so that nothing of one context waits in memory for the next. */
  #keep(made: Made): void {
    const image = this.#image;
    if (image === null) return;
    // A memory cannot shrink.
    if (made.memory.buffer.byteLength !== image.size) return;
    putBack(made, image);
    this.#spare.made = made;
    this.#spare.image = image;
  }
}

/** Null when it could not be put back: a NaN loses its payload on the way through JavaScript. */
function imageOf({ memory, globals }: Made, base: Image | null): Image | null {
  const values = globals.map(({ value }) => value);
  if (values.some(Number.isNaN)) return null;
  const known = new Map(base?.pages.map((page) => [page.at, page]));
  const pages: Page[] = [];
  for (let at = 0; at < memory.buffer.byteLength; at += PAGE_BYTES) {
    const bytes = Buffer.from(memory.buffer, at, PAGE_BYTES);
    const same = known.get(at);
    if (same !== undefined && bytes.equals(same.bytes)) pages.push(same);
    else if (!bytes.equals(ZERO_PAGE)) pages.push({ at, bytes: new Uint8Array(bytes) });
  }
  return { size: memory.buffer.byteLength, pages, globals: values };
}

/** The memory has the image's size. */
function putBack({ memory, globals }: Made, image: Image): void {
  const bytes = new Uint8Array(memory.buffer);
  bytes.fill(0);
  for (const page of image.pages) bytes.set(page.bytes, page.at);
  for (const [i, global] of globals.entries()) global.value = image.globals[i];
}
