/** A string in borsh: its length in bytes as u32 little-endian, then its UTF-8. */
export function borshString(text: string): Buffer {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
}
