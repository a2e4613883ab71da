import loadWabt from 'wabt';

const wabt = await loadWabt();

type Features = NonNullable<Parameters<typeof wabt.parseWat>[2]>;

/** Assembles the text format of WebAssembly; `features` are allowed beyond those that guests use. */
export function assemble(text: string, features: Features = {}): Uint8Array<ArrayBuffer> {
  const module = wabt.parseWat('guest.wat', text, {
    bulk_memory: true,
    sign_extension: true,
    ...features,
  });
  try {
    return Uint8Array.from(module.toBinary({}).buffer);
  } finally {
    module.destroy();
  }
}
