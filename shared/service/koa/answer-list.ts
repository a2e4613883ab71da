import { Readable } from 'node:stream';
import type { DoorContext } from './koa-door.ts';

/** An answer that may be longer than anybody should hold in memory. */
export interface LongList<Item> {
  /** What stands in `data` before the list. */
  readonly lead: Readonly<Record<string, unknown>>;
  /** Name of the list in `data`. */
  readonly name: string;
  readonly pages: AsyncGenerator<readonly Item[]>;
  /** Of the fields, those that can be iterated are written one element at a time. */
  readonly encode: (item: Item) => Readonly<Record<string, unknown>>;
  /** Items at most; null is all of them, or as many as fit into one answer. */
  readonly limit: number | null;
  /** What to ask next with, after `last`, when there is at least `following`. */
  readonly cursorOf: (last: Item, following: Item) => string;
  /** A caller that takes nothing for so long is cut off. */
  readonly idleMs: number;
}

const LINES = 'application/x-ndjson';
/** A JSON answer ends behind the item that makes it longer, and says where to go on. */
const ANSWER_CHARS_MAX = 16_777_216;
const CHUNK_CHARS = 65_536;

/** True when the caller would rather have one line for each item, as many as there are. */
export function acceptsLines(context: DoorContext): boolean {
  return context.accepts('application/json', LINES) === LINES;
}

/**
 * Answers with `{"data":{…lead, [name]: […items], "next": cursor or null}}`, or with a line for
 * each item, as it is read; reading goes on as fast as the caller takes it, and ends when it goes.
 * Whatever fails before the first bytes are there is thrown, later it cuts the answer off.
 */
export async function answerList<Item>(context: DoorContext, list: LongList<Item>): Promise<void> {
  const isLines = acceptsLines(context);
  const chunks = isLines ? linesOf(list) : documentOf(list);
  context.res.setTimeout(list.idleMs, () => context.res.destroy());
  // The generator would otherwise wait for ever to be asked on.
  context.res.once('close', () => void chunks.return().catch(() => undefined));
  const first = await chunks.next();
  context.type = isLines ? LINES : 'application/json';
  context.set('x-content-type-options', 'nosniff');
  if (context.method === 'HEAD') {
    context.status = 200;
    return;
  }
  context.body = Readable.from(startingWith(first, chunks), { objectMode: false });
}

async function* startingWith(
  first: IteratorResult<string, void>,
  rest: AsyncGenerator<string, void>,
): AsyncGenerator<string> {
  if (first.done === true) return;
  yield first.value;
  yield* rest;
}

async function* documentOf<Item>(list: LongList<Item>): AsyncGenerator<string, void> {
  const lead = Object.entries(list.lead).map(([name, value]) => `${field(name)}${json(value)},`);
  let text = `{"data":{${lead.join('')}${field(list.name)}[`;
  let chars = 0;
  let last: Item | null = null;
  let count = 0;
  let next: string | null = null;
  for await (const item of itemsOf(list.pages)) {
    if (last !== null && (count === list.limit || chars > ANSWER_CHARS_MAX)) {
      next = list.cursorOf(last, item);
      break;
    }
    if (last !== null) text += ',';
    for (const piece of piecesOf(list.encode(item))) {
      text += piece;
      chars += piece.length;
      if (text.length < CHUNK_CHARS) continue;
      yield text;
      text = '';
    }
    last = item;
    count += 1;
  }
  yield `${text}],"next":${json(next)}}}`;
}

async function* linesOf<Item>(list: LongList<Item>): AsyncGenerator<string, void> {
  let text = '';
  let count = 0;
  for await (const item of itemsOf(list.pages)) {
    for (const piece of piecesOf(list.encode(item))) {
      text += piece;
      if (text.length < CHUNK_CHARS) continue;
      yield text;
      text = '';
    }
    text += '\n';
    count += 1;
    if (count === list.limit) break;
  }
  if (text !== '') yield text;
}

async function* itemsOf<Item>(pages: AsyncGenerator<readonly Item[]>): AsyncGenerator<Item> {
  for await (const page of pages) yield* page;
}

/** The JSON of one item, so that no long list in it is one text. */
function* piecesOf(item: Readonly<Record<string, unknown>>): Generator<string> {
  let text = '{';
  for (const [name, value] of Object.entries(item)) {
    if (value === undefined) continue;
    text += `${text === '{' ? '' : ','}${field(name)}`;
    if (!isIterable(value)) {
      text += json(value);
      continue;
    }
    yield `${text}[`;
    let separator = '';
    for (const element of value) {
      yield `${separator}${json(element)}`;
      separator = ',';
    }
    text = ']';
  }
  yield `${text}}`;
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}

function field(name: string): string {
  return `${json(name)}:`;
}

function json(value: unknown): string {
  return JSON.stringify(value);
}
