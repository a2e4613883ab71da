import loadWabt from 'wabt';

const wabt = await loadWabt();

/** Assembles the text format of WebAssembly. */
export function assemble(text: string): Uint8Array {
  const module = wabt.parseWat('guest.wat', text, { bulk_memory: true, sign_extension: true });
  try {
    return module.toBinary({}).buffer;
  } finally {
    module.destroy();
  }
}
