const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const ID_BYTES = 32;
/** 58^5 fits in 30 bits, so a limb times 256^3 stays exact in a double. */
const CHUNK_DIGITS = 5;
const CHUNK = 58 ** CHUNK_DIGITS;

const VALUES = new Int8Array(128).fill(-1);
for (let i = 0; i < ALPHABET.length; i += 1) VALUES[ALPHABET.charCodeAt(i)] = i;

/** Encodes bytes with the Bitcoin alphabet; each leading zero byte is one leading `1`. */
export function encodeBase58(bytes: Uint8Array): string {
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros += 1;
  const limbs: number[] = [];
  for (let at = zeros; at < bytes.length; ) {
    const width = Math.min(2, bytes.length - at);
    let carry = 0;
    for (let i = 0; i < width; i += 1) carry = carry * 256 + (bytes[at + i] ?? 0);
    const scale = 256 ** width;
    for (let i = 0; i < limbs.length; i += 1) {
      const value = (limbs[i] ?? 0) * scale + carry;
      limbs[i] = value % CHUNK;
      carry = Math.floor(value / CHUNK);
    }
    if (carry > 0) limbs.push(carry);
    at += width;
  }
  let text = '';
  for (let i = 0; i < limbs.length; i += 1) {
    let limb = limbs[i] ?? 0;
    let digits = '';
    const isTop = i === limbs.length - 1;
    for (let d = 0; isTop ? limb > 0 : d < CHUNK_DIGITS; d += 1) {
      digits = ALPHABET.charAt(limb % 58) + digits;
      limb = Math.floor(limb / 58);
    }
    text = digits + text;
  }
  return '1'.repeat(zeros) + text;
}

/** Decodes Bitcoin-alphabet text. Throws an Error that names the first bad character. */
export function decodeBase58(text: string): Uint8Array {
  let zeros = 0;
  while (zeros < text.length && text[zeros] === '1') zeros += 1;
  const limbs: number[] = [];
  for (let at = zeros; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    let carry = code < 128 ? (VALUES[code] ?? -1) : -1;
    if (carry < 0) {
      throw new Error(`provided string contained invalid character '${text[at]}' at byte ${at}`);
    }
    for (let i = 0; i < limbs.length; i += 1) {
      const value = (limbs[i] ?? 0) * 58 + carry;
      limbs[i] = value % 0x1000000;
      carry = Math.floor(value / 0x1000000);
    }
    if (carry > 0) limbs.push(carry);
  }
  const bytes: number[] = [];
  for (const limb of limbs) bytes.push(limb & 0xff, (limb >> 8) & 0xff, (limb >> 16) & 0xff);
  while (bytes.at(-1) === 0) bytes.pop();
  const result = new Uint8Array(zeros + bytes.length);
  for (let i = 0; i < bytes.length; i += 1) result[result.length - 1 - i] = bytes[i] ?? 0;
  return result;
}

/** Encodes the 32 bytes of an id. */
export function encodeId(bytes: Uint8Array): string {
  if (bytes.length !== ID_BYTES) throw new Error(`an id has 32 bytes, not ${bytes.length}`);
  return encodeBase58(bytes);
}

/** Decodes an id. Throws an Error with the dialect's text when it is not 32 bytes of base58. */
export function decodeId(text: string): Uint8Array {
  const bytes = text.length > 44 ? null : decodeBase58(text);
  if (bytes?.length !== ID_BYTES) {
    throw new Error(`invalid length ${text.length}, expected a base58 encoded hash`);
  }
  return bytes;
}
