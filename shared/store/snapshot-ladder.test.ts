import { expect, test } from 'vitest';
import { droppedRungs, type Rung } from './snapshot-ladder.ts';

/** What is left when a snapshot of so many bytes is taken every thousand transactions. */
function ladderOf(snapshots: number, bytes: number): readonly Rung[] {
  let kept: readonly Rung[] = [];
  for (let i = 1; i <= snapshots; i += 1) {
    const all = [...kept, { sequence: BigInt(i) * 1_000n, bytes }];
    const dropped = new Set(droppedRungs(all));
    kept = all.filter(({ sequence }) => !dropped.has(sequence));
  }
  return kept;
}

function widestGap(rungs: readonly Rung[]): number {
  const sequences = [0, ...rungs.map(({ sequence }) => Number(sequence))];
  return Math.max(...sequences.slice(1).map((sequence, i) => sequence - (sequences[i] ?? 0)));
}

test('all snapshots stay while there are few', () => {
  expect(ladderOf(64, 1_000)).toHaveLength(64);
});

test('of many, so many stay as the ladder has rungs, evenly along the log', () => {
  for (const snapshots of [65, 100, 333, 1_000, 4_097]) {
    const rungs = ladderOf(snapshots, 1_000);
    expect(rungs).toHaveLength(64);
    expect(widestGap(rungs)).toBeLessThanOrEqual((snapshots * 1_000) / 32);
    const newest = rungs.slice(-2).map(({ sequence }) => Number(sequence));
    expect(newest).toEqual([(snapshots - 1) * 1_000, snapshots * 1_000]);
  }
});

test('large ones take no more than their room, but for the two newest', () => {
  const mebibytes = (count: number) => count * 1_048_576;
  expect(ladderOf(500, mebibytes(30))).toHaveLength(8);
  expect(ladderOf(500, mebibytes(400)).map(({ sequence }) => sequence)).toEqual([
    499_000n,
    500_000n,
  ]);
});
