import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { sha256 } from '#shared/crypto/sha256.ts';
import {
  consistencyPath,
  inclusionPath,
  isConsistent,
  leafHash,
  nodeHash,
  rootOf,
  rootOfPath,
  splitOf,
} from './merkle.ts';

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex');
const leaves = Array.from({ length: 2_100 }, (_, i) => leafHash(sha256, Buffer.from(`leaf ${i}`)));

/** RFC 9162, section 2.1.1, as it is written there. */
function naiveRoot(some: readonly Uint8Array[]): Uint8Array {
  const [first] = some;
  if (first !== undefined && some.length === 1) return first;
  const left = Number(splitOf(BigInt(some.length)));
  return nodeHash(sha256, naiveRoot(some.slice(0, left)), naiveRoot(some.slice(left)));
}

const rootAt = (start: bigint, size: bigint) =>
  rootOf(sha256, leaves.slice(Number(start), Number(start + size)));
const rootOfSize = (size: bigint) => rootAt(0n, size);

test('hashes what the examples of certificate transparency hash', () => {
  // The inputs and roots of the test vectors of RFC 6962's reference implementation.
  const inputs = ['', '00', '10', '2021', '3031', '40414243', '5051525354555657'];
  const hashes = inputs.map((input) => leafHash(sha256, Buffer.from(input, 'hex')));
  const roots = [1, 2, 3, 4, 5].map((size) => hex(rootOf(sha256, hashes.slice(0, size))));

  expect(roots).toEqual([
    '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
    'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
    'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
    'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
    '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  ]);
});

const sizes = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 1_023, 1_024, 1_025, 2_049];

test.each(sizes)('a tree of %i leaves has the root that the standard says', (size) => {
  expect(hex(rootOfSize(BigInt(size)))).toBe(hex(naiveRoot(leaves.slice(0, size))));
});

test('a path leads to the root, from every leaf of every small tree', () => {
  for (let size = 1n; size <= 70n; size += 1n) {
    const root = hex(rootOfSize(size));
    for (let index = 0n; index < size; index += 1n) {
      const path = inclusionPath(rootAt, index, size);
      const leaf = leaves[Number(index)] ?? new Uint8Array();
      const reached = rootOfPath(sha256, leaf, { index, size }, path);
      expect(hex(reached ?? new Uint8Array())).toBe(root);
      expect(path.length).toBeLessThanOrEqual((size - 1n).toString(2).length);
    }
  }
});

describe('a path does not lead to the root', () => {
  const place = fc.integer({ min: 2, max: 2_100 }).chain((size) =>
    fc.record({
      size: fc.constant(BigInt(size)),
      index: fc.bigInt({ min: 0n, max: BigInt(size - 1) }),
      other: fc.bigInt({ min: 0n, max: BigInt(size - 1) }),
    }),
  );
  const reach = (
    { index, size }: { readonly index: bigint; readonly size: bigint },
    path: readonly Uint8Array[],
    leaf = leaves[Number(index)] ?? new Uint8Array(),
  ) => hex(rootOfPath(sha256, leaf, { index, size }, path) ?? new Uint8Array());

  test('from another leaf, place or size, nor when it is longer or shorter', () => {
    fc.assert(
      fc.property(place, ({ size, index, other }) => {
        const root = hex(rootOfSize(size));
        const path = inclusionPath(rootAt, index, size);

        expect(reach({ index, size }, path)).toBe(root);
        expect(reach({ index, size }, path.slice(1))).not.toBe(root);
        expect(reach({ index, size }, [...path, path[0] ?? new Uint8Array(32)])).not.toBe(root);
        if (other === index) return;
        expect(reach({ index, size }, path, leaves[Number(other)])).not.toBe(root);
        expect(reach({ index: other, size }, path)).not.toBe(root);
        expect(reach({ index: size, size }, path)).toBe('');
      }),
      { numRuns: 60 },
    );
  });
});

test('a longer log is shown to begin with a shorter one, and with no other', () => {
  const pair = fc
    .integer({ min: 1, max: 2_100 })
    .chain((size) =>
      fc.tuple(fc.constant(BigInt(size)), fc.bigInt({ min: 1n, max: BigInt(size) })),
    );
  fc.assert(
    fc.property(pair, ([size, before]) => {
      const path = consistencyPath(rootAt, before, size);
      const first = { size: before, root: rootOfSize(before) };
      const second = { size, root: rootOfSize(size) };

      expect(isConsistent(sha256, first, second, path)).toBe(true);
      const changed = { ...first, root: leafHash(sha256, first.root) };
      expect(isConsistent(sha256, changed, second, path)).toBe(false);
      const later = { ...second, root: leafHash(sha256, second.root) };
      expect(isConsistent(sha256, first, later, path)).toBe(false);
      expect(isConsistent(sha256, first, second, [...path, first.root])).toBe(false);
      if (path.length > 0) {
        expect(isConsistent(sha256, first, second, path.slice(1))).toBe(false);
      }
    }),
    { numRuns: 60 },
  );
});
