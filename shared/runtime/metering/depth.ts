/** Bytes of stack that the frames of one call may take together, as the pass weighs them. */
export const DEPTH_MAX = 1_000_000;
