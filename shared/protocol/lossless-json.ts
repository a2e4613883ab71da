/**
 * JSON as serde_json prints a `Value` (without `preserve_order` and `arbitrary_precision`): compact,
 * keys sorted by their UTF-8 bytes, the last of duplicate keys, integers exact over the range of
 * i64 and u64, every other number a shortest-form double that keeps its fraction (`1.0`, `1e16`).
 */
export type JsonNode =
  | { readonly kind: 'object'; readonly members: ReadonlyMap<string, JsonNode> }
  | { readonly kind: 'array'; readonly items: readonly JsonNode[] }
  | { readonly kind: 'string'; readonly value: string }
  /** `text` is canonical. */
  | { readonly kind: 'number'; readonly text: string }
  | { readonly kind: 'boolean'; readonly value: boolean }
  | { readonly kind: 'null' };

/** Text that is not JSON; the message says what and where. */
export class JsonError extends Error {
  override readonly name = 'JsonError';
}

const DEPTH_MAX = 127;
const I64_MIN = -(2n ** 63n);
const U64_MAX = 2n ** 64n - 1n;
const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
/** Up to this length a text is looked through faster here than it is handed to JSON.stringify. */
const SHORT_CHARS = 128;
const TAB = 0x09;
const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const SPACE = 0x20;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const DELETE = 0x7f;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
};

export function parseJson(text: string): JsonNode {
  return new Parser(text).document();
}

/** The canonical text of a value. */
export function printJson(node: JsonNode): string {
  switch (node.kind) {
    case 'object': {
      let text = '';
      for (const [key, value] of sorted(node.members)) {
        text += `${text === '' ? '{' : ','}${quote(key)}:${printJson(value)}`;
      }
      return text === '' ? '{}' : `${text}}`;
    }
    case 'array':
      return `[${node.items.map(printJson).join(',')}]`;
    case 'string':
      return quote(node.value);
    case 'number':
      return node.text;
    case 'boolean':
      return String(node.value);
    case 'null':
      return 'null';
  }
}

type Members = ReadonlyMap<string, JsonNode>;

function sorted(members: Members): Iterable<[string, JsonNode]> {
  let last: string | null = null;
  for (const key of members.keys()) {
    if (last !== null && compareUtf8(last, key) > 0) {
      return [...members].sort(([a], [b]) => compareUtf8(a, b));
    }
    last = key;
  }
  return members;
}

function quote(text: string): string {
  return isPlain(text) ? `"${text}"` : JSON.stringify(text);
}

/** True for a text that JSON writes as it is. */
function isPlain(text: string): boolean {
  if (text.length > SHORT_CHARS) return false;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (code < SPACE || code === QUOTE || code === BACKSLASH || code >= DELETE) return false;
  }
  return true;
}

/** UTF-16 order differs from byte order only where surrogates meet the end of the basic plane. */
export function compareUtf8(a: string, b: string): number {
  if (/^[\0-\ud7ff]*$/.test(a) && /^[\0-\ud7ff]*$/.test(b)) return a < b ? -1 : 1;
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

class Parser {
  readonly #text: string;
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
  }

  document(): JsonNode {
    const node = this.#value();
    this.#space();
    if (this.#at < this.#text.length) throw this.#error('trailing characters');
    return node;
  }

  #value(): JsonNode {
    this.#space();
    switch (this.#text[this.#at]) {
      case '{':
        return this.#object();
      case '[':
        return this.#array();
      case '"':
        return { kind: 'string', value: this.#string() };
      case 't':
        return this.#word('true', { kind: 'boolean', value: true });
      case 'f':
        return this.#word('false', { kind: 'boolean', value: false });
      case 'n':
        return this.#word('null', { kind: 'null' });
      case undefined:
        throw this.#error('EOF while parsing a value');
      default:
        return this.#number();
    }
  }

  #object(): JsonNode {
    const members = new Map<string, JsonNode>();
    this.#enter();
    if (this.#accept('}')) return this.#leave({ kind: 'object', members });
    do {
      this.#space();
      if (this.#text[this.#at] !== '"') throw this.#error('key must be a string');
      const key = this.#string();
      if (!this.#accept(':')) throw this.#error('expected `:`');
      const value = this.#value();
      members.set(key, value);
    } while (this.#accept(','));
    if (!this.#accept('}')) throw this.#error('expected `,` or `}`');
    return this.#leave({ kind: 'object', members });
  }

  #array(): JsonNode {
    const items: JsonNode[] = [];
    this.#enter();
    if (this.#accept(']')) return this.#leave({ kind: 'array', items });
    do items.push(this.#value());
    while (this.#accept(','));
    if (!this.#accept(']')) throw this.#error('expected `,` or `]`');
    return this.#leave({ kind: 'array', items });
  }

  #string(): string {
    this.#at += 1;
    let value = '';
    for (;;) {
      const start = this.#at;
      const end = this.#endOfPlain();
      const part = this.#text.slice(start, end);
      value = value === '' ? part : value + part;
      this.#at = end + 1;
      const code = this.#text.charCodeAt(end);
      if (code === QUOTE) break;
      if (code === BACKSLASH) value += this.#escape();
      else if (end >= this.#text.length) throw this.#error('EOF while parsing a string');
      else throw this.#error('control character found while parsing a string');
    }
    if (!value.isWellFormed()) throw this.#error('lone surrogate found');
    return value;
  }

  /** Where the next character is that is not one of the string itself. */
  #endOfPlain(): number {
    const text = this.#text;
    let at = this.#at;
    for (; at < text.length; at += 1) {
      const code = text.charCodeAt(at);
      if (code === QUOTE || code === BACKSLASH || code < SPACE) break;
    }
    return at;
  }

  #escape(): string {
    const char = this.#text[this.#at] ?? '';
    this.#at += 1;
    const known = ESCAPES[char];
    if (known !== undefined) return known;
    const hex = this.#text.slice(this.#at, this.#at + 4);
    if (char !== 'u' || !/^[0-9a-fA-F]{4}$/.test(hex)) throw this.#error('invalid escape');
    this.#at += 4;
    return String.fromCharCode(Number.parseInt(hex, 16));
  }

  #number(): JsonNode {
    NUMBER.lastIndex = this.#at;
    const match = NUMBER.exec(this.#text);
    if (match === null) throw this.#error('expected value');
    this.#at = NUMBER.lastIndex;
    const [text, fraction, exponent] = match;
    if (fraction === undefined && exponent === undefined && text !== '-0') {
      if (text.length < 16) return { kind: 'number', text };
      const integer = BigInt(text);
      if (integer >= I64_MIN && integer <= U64_MAX) return { kind: 'number', text };
    }
    const value = Number(text);
    if (!Number.isFinite(value)) throw this.#error('number out of range');
    return { kind: 'number', text: printDouble(value) };
  }

  #word(word: string, node: JsonNode): JsonNode {
    if (!this.#text.startsWith(word, this.#at)) throw this.#error('expected ident');
    this.#at += word.length;
    return node;
  }

  #enter(): void {
    this.#at += 1;
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw this.#error('recursion limit exceeded');
  }

  #leave(node: JsonNode): JsonNode {
    this.#depth -= 1;
    return node;
  }

  #accept(char: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #space(): void {
    for (; this.#at < this.#text.length; this.#at += 1) {
      const code = this.#text.charCodeAt(this.#at);
      if (code > SPACE) return;
      const isSpace =
        code === SPACE || code === LINE_FEED || code === TAB || code === CARRIAGE_RETURN;
      if (!isSpace) return;
    }
  }

  #error(reason: string): JsonError {
    const before = this.#text.slice(0, this.#at).split('\n');
    return new JsonError(`${reason} at line ${before.length} column ${before.at(-1)?.length ?? 0}`);
  }
}

/** Shortest digits, laid out as ryu does: plain from 1e-5 up to below 1e16, else with exponent. */
function printDouble(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0';
  const [mantissa = '', exponentText = '0'] = Math.abs(value).toExponential().split('e');
  const digits = mantissa.replace('.', '');
  const exponent = Number(exponentText);
  const sign = value < 0 ? '-' : '';
  if (exponent < -5 || exponent >= 16) return `${sign}${mantissa}e${exponent}`;
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  if (digits.length <= exponent + 1) return `${sign}${digits.padEnd(exponent + 1, '0')}.0`;
  return `${sign}${digits.slice(0, exponent + 1)}.${digits.slice(exponent + 1)}`;
}
