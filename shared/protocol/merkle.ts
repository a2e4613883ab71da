import { assert } from '#shared/util/assert.ts';

/**
 * The Merkle tree of RFC 9162, section 2.1, over the seals of a log: leaf `i` is the seal of
 * sequence `i + 1`. Leaves and inner nodes are hashed with different first bytes, so that neither
 * can be taken for the other. The hash function is a parameter: browsers and servers have their own.
 */
export type Hash = (bytes: Uint8Array) => Uint8Array;

/** The root of the leaves from `start` on, `size` of them: one or more. */
export type SubtreeRoot = (start: bigint, size: bigint) => Uint8Array;

const HASH_BYTES = 32;
const LEAF = 0;
const NODE = 1;

export function leafHash(hash: Hash, seal: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + seal.length);
  bytes[0] = LEAF;
  bytes.set(seal, 1);
  return hash(bytes);
}

export function nodeHash(hash: Hash, left: Uint8Array, right: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(1 + 2 * HASH_BYTES);
  bytes[0] = NODE;
  bytes.set(left, 1);
  bytes.set(right, 1 + HASH_BYTES);
  return hash(bytes);
}

/** The root of some leaf hashes: one or more. */
export function rootOf(hash: Hash, leaves: readonly Uint8Array[]): Uint8Array {
  let level = leaves;
  while (level.length > 1) {
    const above: Uint8Array[] = [];
    for (let i = 0; i < level.length; i += 2) {
      const [left, right] = [level[i], level[i + 1]];
      assert(left !== undefined, 'a level has a node for each pair');
      // A last node without a neighbour is its own parent, as in a tree that is split unevenly.
      above.push(right === undefined ? left : nodeHash(hash, left, right));
    }
    level = above;
  }
  const [root] = level;
  assert(root !== undefined, 'a tree has at least one leaf');
  return root;
}

/** The largest power of two below `size`, which is at least 2: where a tree is split. */
export function splitOf(size: bigint): bigint {
  return 1n << BigInt((size - 1n).toString(2).length - 1);
}

/** Section 2.1.3.1: what is hashed with the leaf on the way up, from the leaf's neighbour on. */
export function inclusionPath(rootAt: SubtreeRoot, index: bigint, size: bigint): Uint8Array[] {
  const path: Uint8Array[] = [];
  let [start, width, at] = [0n, size, index];
  while (width > 1n) {
    const left = splitOf(width);
    if (at < left) {
      path.push(rootAt(start + left, width - left));
      width = left;
    } else {
      path.push(rootAt(start, left));
      [start, width, at] = [start + left, width - left, at - left];
    }
  }
  return path.toReversed();
}

/** Section 2.1.3.2: the root that a leaf hash and its path lead to, or null for another shape. */
export function rootOfPath(
  hash: Hash,
  leaf: Uint8Array,
  place: { readonly index: bigint; readonly size: bigint },
  path: readonly Uint8Array[],
): Uint8Array | null {
  if (place.index < 0n || place.index >= place.size) return null;
  let [at, last, root] = [place.index, place.size - 1n, leaf];
  for (const sibling of path) {
    if (last === 0n) return null;
    if (isOdd(at) || at === last) {
      root = nodeHash(hash, sibling, root);
      while (!isOdd(at) && at !== 0n) [at, last] = [at >> 1n, last >> 1n];
    } else root = nodeHash(hash, root, sibling);
    [at, last] = [at >> 1n, last >> 1n];
  }
  return last === 0n ? root : null;
}

/** Section 2.1.4.1: that the tree of the first `before` leaves is the start of that of `size`. */
export function consistencyPath(rootAt: SubtreeRoot, before: bigint, size: bigint): Uint8Array[] {
  const path: Uint8Array[] = [];
  let [start, width, rest, isWhole] = [0n, size, before, true];
  while (rest !== width) {
    const left = splitOf(width);
    if (rest <= left) {
      path.push(rootAt(start + left, width - left));
      width = left;
    } else {
      path.push(rootAt(start, left));
      [start, width, rest, isWhole] = [start + left, width - left, rest - left, false];
    }
  }
  if (!isWhole) path.push(rootAt(start, width));
  return path.toReversed();
}

/** Section 2.1.4.2: true when the path shows that the second tree begins with the first. */
export function isConsistent(
  hash: Hash,
  first: { readonly size: bigint; readonly root: Uint8Array },
  second: { readonly size: bigint; readonly root: Uint8Array },
  path: readonly Uint8Array[],
): boolean {
  if (first.size < 1n || first.size > second.size) return false;
  if (first.size === second.size) return path.length === 0 && isSame(first.root, second.root);
  const isPower = (first.size & (first.size - 1n)) === 0n;
  const [start, ...others] = isPower ? [first.root, ...path] : path;
  if (start === undefined) return false;
  let [at, last] = [first.size - 1n, second.size - 1n];
  while (isOdd(at)) [at, last] = [at >> 1n, last >> 1n];
  let [before, root] = [start, start];
  for (const sibling of others) {
    if (last === 0n) return false;
    if (isOdd(at) || at === last) {
      before = nodeHash(hash, sibling, before);
      root = nodeHash(hash, sibling, root);
      while (!isOdd(at) && at !== 0n) [at, last] = [at >> 1n, last >> 1n];
    } else root = nodeHash(hash, root, sibling);
    [at, last] = [at >> 1n, last >> 1n];
  }
  return last === 0n && isSame(before, first.root) && isSame(root, second.root);
}

function isOdd(value: bigint): boolean {
  return (value & 1n) === 1n;
}

export function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
