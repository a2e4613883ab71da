/** A snapshot of a context. */
export interface Rung {
  readonly sequence: bigint;
  /** Of the state as it is stored. */
  readonly bytes: number;
}

/** The newest are for opening the context: they stay whatever they take. */
const NEWEST_KEPT = 2;
const RUNGS_MAX = 64;
const BYTES_MAX = 268_435_456;

/**
 * Which snapshots of a context, given in order of sequence, are dropped so that the others stand
 * evenly along the log: always the one whose neighbours are the closest. Reading the state at any
 * sequence then takes 1/32 of the log's diffs at most, where rungs that double their distance would
 * leave half of the log between the first two.
 */
export function droppedRungs(rungs: readonly Rung[]): readonly bigint[] {
  const kept = [...rungs];
  const dropped: bigint[] = [];
  let bytes = kept.reduce((sum, rung) => sum + rung.bytes, 0);
  while (kept.length > NEWEST_KEPT && (kept.length > RUNGS_MAX || bytes > BYTES_MAX)) {
    const at = mostCrowded(kept);
    const [rung] = kept.splice(at, 1);
    if (rung === undefined) break;
    bytes -= rung.bytes;
    dropped.push(rung.sequence);
  }
  return dropped;
}

/** Of those below the newest; the first of several. */
function mostCrowded(rungs: readonly Rung[]): number {
  let found = 0;
  let least: bigint | null = null;
  for (let i = 0; i < rungs.length - NEWEST_KEPT; i += 1) {
    const gap = (rungs[i + 1]?.sequence ?? 0n) - (rungs[i - 1]?.sequence ?? 0n);
    if (least !== null && gap >= least) continue;
    found = i;
    least = gap;
  }
  return found;
}
