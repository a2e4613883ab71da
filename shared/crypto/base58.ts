const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz';
const ID_BYTES = 32;
/** 58^5 is below 2^30, so a limb below it times 256^2 stays exact in a double. */
const CHUNK_DIGITS = 5;
const CHUNK = 58 ** CHUNK_DIGITS;
/** A limb of 24 bits times 58^4 stays exact in a double. */
const LIMB = 0x1000000;
const DECODED_DIGITS = 4;

const VALUES = new Int8Array(128).fill(-1);
for (let i = 0; i < ALPHABET.length; i += 1) VALUES[ALPHABET.charCodeAt(i)] = i;

/** All pairs of digits, to print two at once. */
const PAIRS = Array.from(
  { length: 58 * 58 },
  (_, i) => ALPHABET.charAt(i / 58) + ALPHABET.charAt(i % 58),
);

/** Encodes bytes with the Bitcoin alphabet; each leading zero byte is one leading `1`. */
export function encodeBase58(bytes: Uint8Array): string {
  let zeros = 0;
  while (zeros < bytes.length && bytes[zeros] === 0) zeros += 1;
  const limbs = new Float64Array(Math.ceil((bytes.length - zeros) / 2));
  let used = 0;
  for (let at = zeros; at < bytes.length; ) {
    // A first byte alone where their number is odd.
    const width = at > zeros || (bytes.length - zeros) % 2 === 0 ? 2 : 1;
    let carry = bytes[at] ?? 0;
    if (width === 2) carry = carry * 256 + (bytes[at + 1] ?? 0);
    for (let i = 0; i < used; i += 1) {
      const value = (limbs[i] ?? 0) * 0x10000 + carry;
      carry = Math.floor(value / CHUNK);
      limbs[i] = value - carry * CHUNK;
    }
    if (carry > 0) {
      limbs[used] = carry;
      used += 1;
    }
    at += width;
  }
  let text = '';
  for (let i = used - 1; i >= 0; i -= 1) text += digitsOf(limbs[i] ?? 0);
  return '1'.repeat(zeros) + text.replace(/^1+/, '');
}

/** The five digits of a limb. */
function digitsOf(limb: number): string {
  const first = Math.floor(limb / 58 ** 4);
  const others = limb - first * 58 ** 4;
  const middle = Math.floor(others / 58 ** 2);
  return ALPHABET.charAt(first) + PAIRS[middle] + PAIRS[others - middle * 58 ** 2];
}

/** Decodes Bitcoin-alphabet text. Throws an Error that names the first bad character. */
export function decodeBase58(text: string): Uint8Array {
  let zeros = 0;
  while (zeros < text.length && text[zeros] === '1') zeros += 1;
  const limbs: number[] = [];
  for (let at = zeros; at < text.length; ) {
    let carry = 0;
    let scale = 1;
    for (const end = Math.min(at + DECODED_DIGITS, text.length); at < end; at += 1) {
      carry = carry * 58 + valueAt(text, at);
      scale *= 58;
    }
    for (let i = 0; i < limbs.length; i += 1) {
      const value = (limbs[i] ?? 0) * scale + carry;
      carry = Math.floor(value / LIMB);
      limbs[i] = value - carry * LIMB;
    }
    for (; carry > 0; carry = Math.floor(carry / LIMB)) limbs.push(carry % LIMB);
  }
  const bytes: number[] = [];
  for (const limb of limbs) bytes.push(limb & 0xff, (limb >> 8) & 0xff, (limb >> 16) & 0xff);
  while (bytes.at(-1) === 0) bytes.pop();
  const result = new Uint8Array(zeros + bytes.length);
  for (let i = 0; i < bytes.length; i += 1) result[result.length - 1 - i] = bytes[i] ?? 0;
  return result;
}

/** Decodes what a stranger sent: null when it is not base58, or longer than `charsMax`. */
export function tryDecodeBase58(text: string, charsMax: number): Uint8Array | null {
  if (text.length > charsMax) return null;
  try {
    return decodeBase58(text);
  } catch {
    return null;
  }
}

function valueAt(text: string, at: number): number {
  const value = VALUES[text.charCodeAt(at)] ?? -1;
  if (value >= 0) return value;
  throw new Error(`provided string contained invalid character '${text[at]}' at byte ${at}`);
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

const RECENT_MAX = 4_096;
const recent = new Map<string, Uint8Array>();

/**
 * As `decodeId`, for ids of our own that are asked for again and again: a context and its members
 * with each of its transactions, a hash by the transaction after it. The bytes are shared.
 */
export function recentId(text: string): Uint8Array {
  const known = recent.get(text);
  if (known !== undefined) return known;
  const bytes = decodeId(text);
  if (recent.size >= RECENT_MAX) recent.clear();
  recent.set(text, bytes);
  return bytes;
}
