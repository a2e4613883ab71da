/**
 * Bounds on what costs time or memory for each instance and is not metered: several times what the
 * largest compilers' output has.
 */
export const moduleLimits = {
  typesMax: 10_000,
  functionsMax: 100_000,
  importsMax: 1_000,
  exportsMax: 10_000,
  globalsMax: 1_000,
  tablesMax: 10,
  /** Of all tables together. */
  tableEntriesMax: 100_000,
} as const;
