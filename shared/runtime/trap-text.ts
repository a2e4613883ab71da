/** V8's words for a trap, and the dialect's. The first match counts. */
const TRAPS: readonly (readonly [RegExp, string])[] = [
  [/maximum call stack/i, 'stack overflow'],
  [/^unreachable/i, 'unreachable code reached'],
  [
    /divide by zero|remainder by zero|unrepresentable|integer overflow/i,
    'illegal arithmetic operation',
  ],
  [
    /null function|table index is out of bounds|table.*out of bounds|dereferencing a null/i,
    'indirect call to null',
  ],
  [/signature mismatch/i, 'bad signature'],
  [/unaligned/i, 'unaligned atomic operation'],
  [/out of bounds/i, 'memory out of bounds'],
];

/** The FunctionCallError text of a trap, or null when the error is not one. */
export function trapText(error: unknown): string | null {
  const isStack = error instanceof RangeError && /maximum call stack/i.test(error.message);
  if (!(error instanceof WebAssembly.RuntimeError) && !isStack) return null;
  // V8 merges a null entry and a wrong signature in one message; a wrong signature is named last.
  if (/null function or function signature mismatch/i.test(error.message)) return 'bad signature';
  return TRAPS.find(([pattern]) => pattern.test(error.message))?.[1] ?? 'indeterminate trap';
}
