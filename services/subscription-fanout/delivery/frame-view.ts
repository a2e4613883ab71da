import type { ContextId } from '#shared/domain/ids.ts';
import type { LogNotice } from '#shared/protocol/log-notice.ts';
import type { ContextFeed } from './context-feed.ts';
import type { Cursor } from './cursor.ts';

/** How transactions become bytes; subscribers of one format share them. */
export interface FrameFormat {
  /** Formats of the same key are the same. */
  readonly key: string;
  /** Zero or more whole frames. */
  readonly encode: (notice: LogNotice) => Frames;
}

interface Frames {
  readonly bytes: Buffer;
  readonly count: number;
}

/** Successive transactions as the bytes that go to every socket. */
export interface Batch {
  /** The sequence after its last one. */
  readonly next: bigint;
  readonly bytes: Buffer;
  /** How many frames the bytes are. */
  readonly frames: number;
  readonly contextId: ContextId;
  /** Each transaction of it by itself, in order. */
  readonly pieces: () => Iterable<Piece>;
}

interface Piece {
  readonly sequence: bigint;
  readonly bytes: Buffer;
  readonly frames: number;
}

interface Block extends Batch {
  readonly first: bigint;
  /** Where each transaction begins. */
  readonly starts: readonly Start[];
}

interface Start {
  readonly bytes: number;
  readonly frames: number;
}

const BATCH_ENTRIES_MAX = 256;
const BATCH_BYTES_MAX = 262_144;
const BLOCKS_MAX = 16;
const BLOCKS_BYTES_MAX = 1_048_576;
/** Who stands in the past is served from blocks that begin at multiples of this. */
const BLOCK_ENTRIES = 64n;

/**
 * The transactions of one context in one format. Each stretch is encoded and joined once; whoever
 * stands inside it gets a part of the same buffer.
 */
export class FrameView {
  readonly #feed: ContextFeed;
  readonly #format: FrameFormat;
  readonly #cursors = new Set<Cursor>();
  #blocks: Block[] = [];
  #blocksBytes = 0;

  constructor(feed: ContextFeed, format: FrameFormat) {
    this.#feed = feed;
    this.#format = format;
  }

  /** Sequence of the last transaction that may be written. */
  get head(): bigint {
    return this.#feed.head;
  }

  /** What follows from a sequence on, while it is at hand. */
  at(from: bigint): Batch | undefined {
    for (let index = this.#blocks.length - 1; index >= 0; index -= 1) {
      const block = this.#blocks[index];
      if (block !== undefined && from >= block.first && from < block.next) return cut(block, from);
    }
    if (this.#feed.recent(from) === undefined) return undefined;
    const shared = this.#join(this.#recentFrom(this.#firstOfBlock(from)));
    return from < shared.next ? cut(shared, from) : this.#join(this.#recentFrom(from));
  }

  /** Has what follows from a sequence on read from the log; undefined when that has none. */
  async read(from: bigint): Promise<Batch | undefined> {
    await this.#feed.reach(from);
    const known = this.at(from);
    if (known !== undefined) return known;
    const rows = await this.#feed.page(from);
    const first = rows.findIndex(({ sequence }) => sequence === from);
    return first === -1 ? undefined : this.#join(rows.slice(first));
  }

  /** Writes what is new to all who wait for it. */
  deliver(): void {
    for (const cursor of this.#cursors) cursor.pump();
  }

  add(cursor: Cursor): void {
    this.#cursors.add(cursor);
  }

  remove(cursor: Cursor): void {
    this.#cursors.delete(cursor);
    if (this.#cursors.size === 0) this.#feed.dropView(this.#format.key);
  }

  get signal(): AbortSignal {
    return this.#feed.signal;
  }

  #firstOfBlock(from: bigint): bigint {
    const first = from - ((from - 1n) % BLOCK_ENTRIES);
    const isComplete = first + BLOCK_ENTRIES - 1n <= this.head;
    return isComplete && this.#feed.recent(first) !== undefined ? first : from;
  }

  *#recentFrom(first: bigint): Generator<LogNotice> {
    for (let sequence = first; sequence <= this.head; sequence += 1n) {
      const notice = this.#feed.recent(sequence);
      if (notice === undefined) return;
      yield notice;
    }
  }

  /** At least one entry, and no more than a lagging subscriber can afford to drop. */
  #join(notices: Iterable<LogNotice>): Block {
    const parts: Buffer[] = [];
    const starts: Start[] = [];
    let first = 0n;
    let bytes = 0;
    let frames = 0;
    for (const notice of notices) {
      if (starts.length === 0) first = notice.sequence;
      const encoded = this.#format.encode(notice);
      starts.push({ bytes, frames });
      parts.push(encoded.bytes);
      bytes += encoded.bytes.length;
      frames += encoded.count;
      if (starts.length >= BATCH_ENTRIES_MAX || bytes >= BATCH_BYTES_MAX) break;
    }
    const [only] = parts;
    const block: Block = {
      contextId: this.#feed.contextId,
      pieces: () => piecesOf(block, 0),
      first,
      next: first + BigInt(starts.length),
      bytes: parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, bytes),
      frames,
      starts,
    };
    this.#keep(block);
    return block;
  }

  #keep(block: Block): void {
    this.#blocks.push(block);
    this.#blocksBytes += block.bytes.length;
    while (
      this.#blocks.length > 1 &&
      (this.#blocks.length > BLOCKS_MAX || this.#blocksBytes > BLOCKS_BYTES_MAX)
    ) {
      this.#blocksBytes -= this.#blocks.shift()?.bytes.length ?? 0;
    }
  }
}

function cut(block: Block, from: bigint): Batch {
  if (from === block.first) return block;
  const index = Number(from - block.first);
  const start = block.starts[index];
  if (start === undefined) throw new Error('the sequence is outside of the block');
  return {
    contextId: block.contextId,
    next: block.next,
    bytes: block.bytes.subarray(start.bytes),
    frames: block.frames - start.frames,
    pieces: () => piecesOf(block, index),
  };
}

function* piecesOf({ first, starts, bytes, frames }: Block, from: number): Generator<Piece> {
  for (let index = from; index < starts.length; index += 1) {
    const start = starts[index] ?? { bytes: 0, frames: 0 };
    const end = starts[index + 1] ?? { bytes: bytes.length, frames };
    yield {
      sequence: first + BigInt(index),
      bytes: bytes.subarray(start.bytes, end.bytes),
      frames: end.frames - start.frames,
    };
  }
}
