/** Precedes a text with marked integers, and in it each marked integer. */
const MARK = '\u0001';
const MARK_BYTE = 1;
const ESCAPED_MARK = '\\u0001';
/** 2^53 has 16 digits. */
const MANY_DIGITS = /\d{16}/;
/** The start of a string, or a whole integer of many digits. */
const TOKEN = /"|(?<![\d.eE+-])-?\d{16,}(?![\d.eE])/g;
const QUOTE_OR_ESCAPE = /["\\]/g;
const COLON = /\s*:/y;

/**
 * JSON as the prelude reads it. `JSON.parse` of QuickJS knows doubles only, so where integers are
 * that a double cannot hold, they become strings behind a mark, strings that begin with the mark
 * get one more, and the whole text is preceded by it: the prelude makes BigInts of them. Takes time
 * in proportion to its length, also for what is not JSON.
 */
export function markBigIntegers(json: Uint8Array): Uint8Array {
  const bytes = Buffer.from(json.buffer, json.byteOffset, json.length);
  const isPlain = bytes[0] !== MARK_BYTE && !MANY_DIGITS.test(bytes.toString('latin1'));
  if (isPlain) return json;
  const text = bytes.toString();
  const parts = [MARK];
  let taken = 0;
  TOKEN.lastIndex = 0;
  for (let match = TOKEN.exec(text); match !== null; match = TOKEN.exec(text)) {
    const [token] = match;
    if (token === '"') {
      const end = endOfString(text, match.index);
      const isMarked = text.startsWith(ESCAPED_MARK, match.index + 1);
      if (isMarked && !isKey(text, end)) {
        parts.push(text.slice(taken, match.index + 1), ESCAPED_MARK);
        taken = match.index + 1;
      }
      TOKEN.lastIndex = end;
    } else if (!Number.isSafeInteger(Number(token))) {
      parts.push(text.slice(taken, match.index), `"${ESCAPED_MARK}${token}"`);
      taken = match.index + token.length;
    }
  }
  return Buffer.from(parts.join('') + text.slice(taken));
}

/** Where the string that starts there is over. */
function endOfString(text: string, start: number): number {
  QUOTE_OR_ESCAPE.lastIndex = start + 1;
  for (;;) {
    const found = QUOTE_OR_ESCAPE.exec(text)?.[0];
    if (found === undefined) return text.length;
    if (found === '"') return QUOTE_OR_ESCAPE.lastIndex;
    QUOTE_OR_ESCAPE.lastIndex += 1;
  }
}

function isKey(text: string, end: number): boolean {
  COLON.lastIndex = end;
  return COLON.test(text);
}
