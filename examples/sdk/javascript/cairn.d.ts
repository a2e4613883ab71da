/**
 * What applications and scripts in JavaScript are given. In applications it is imported from
 * `cairn`; scripts have all of it as globals, beside `CALLER_ID` and `CONTEXT_ID` (base58).
 *
 * A call sees nothing of the calls before it: what is to last goes into `storage`. While a module
 * loads, only `log` can be called, `Date` is at 1970 and `Math.random` the same everywhere. What
 * breaks a limit ends the call, and cannot be caught.
 */
declare module 'cairn' {
  /** What JSON can hold; integers beyond 2^53 are `bigint`, coming and going. */
  export type Json =
    | null
    | boolean
    | number
    | bigint
    | string
    | readonly Json[]
    | { readonly [key: string]: Json | undefined };

  /** A text is its UTF-8. A key has at most 32 bytes, a value 10 MiB. */
  export type Bytes = string | Uint8Array;

  /** The state of the context. A call that fails leaves it as it was; a query cannot write. */
  export const storage: {
    get(key: Bytes): Uint8Array | null;
    getText(key: Bytes): string | null;
    /** Throws a SyntaxError when the value is not JSON. */
    getJson<T extends Json>(key: Bytes): T | null;
    /** True when it replaced a value. */
    set(key: Bytes, value: Bytes): boolean;
    /** True when it replaced a value. */
    setJson(key: Bytes, value: Json): boolean;
    /** True when there was one. */
    remove(key: Bytes): boolean;
  };

  /** Tells subscribers, if the call succeeds. Data that is not bytes is sent as JSON. */
  export function emit(kind: string, data?: Json | Uint8Array): void;

  /** A line for the operator. `console.log` and its like do the same. */
  export function log(...values: readonly unknown[]): void;

  /** Ends the call with an error that the caller gets as JSON. */
  export function fail(error: Json): never;

  /** Base58. */
  export function contextId(): string;

  /** Base58 of the public key that asked. */
  export function executorId(): string;

  /** Unix time of the transaction; `Date` has it too. */
  export function timeNs(): bigint;

  /** Drawn from the transaction's seed, as `Math.random` is. */
  export function randomBytes(length: number): Uint8Array<ArrayBuffer>;
}
