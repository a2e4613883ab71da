/** The part of the WebAssembly JavaScript API that Cairn uses: Node has it, `lib.es2024` has not. */
declare namespace WebAssembly {
  interface Description {
    readonly name: string;
    readonly kind: string;
  }
  class Module {
    static imports(module: Module): Description[];
    static exports(module: Module): Description[];
    static customSections(module: Module, name: string): ArrayBuffer[];
    constructor(bytes: Uint8Array<ArrayBuffer>);
  }
  class Instance {
    readonly exports: Exports;
    constructor(module: Module, imports: Imports);
  }
  class Memory {
    readonly buffer: ArrayBuffer;
    constructor(limits: { readonly initial: number });
    grow(pages: number): number;
  }
  class Global {
    value: unknown;
  }
  class RuntimeError extends Error {}
  type Exports = Readonly<Record<string, unknown>>;
  type Imports = Record<string, Record<string, (...args: never[]) => unknown>>;
  function validate(bytes: Uint8Array<ArrayBuffer>): boolean;
}
