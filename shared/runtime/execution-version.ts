/**
 * The rules by which a transaction is executed, recorded in it: replaying it by other rules could
 * cost other fuel, and so come out differently.
 *
 * | version | instrumenter | cost table | host costs | engines                               |
 * | ------- | ------------ | ---------- | ---------- | ------------------------------------- |
 * | 0       | none         | –          | –          | `wasm` alone, bounded by the clock    |
 * | 1       | 1            | 1          | 1          | `wasm`, `javascript` and `rhai`, whose modules are pinned by SHA-256 |
 *
 * Whoever changes one of them adds a version, and keeps the old one for the logs that were written
 * by it.
 */
export const EXECUTION_VERSION = 1;
/** How logs without metering were written. */
export const UNMETERED = 0;
