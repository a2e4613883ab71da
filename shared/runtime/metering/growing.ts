/** A copy of twice the length, for arrays that serve all functions of a module. */
export function grown<T extends Int32Array | Uint32Array | Uint8Array | Float64Array>(array: T): T {
  const longer = new (array.constructor as new (length: number) => T)(array.length * 2);
  longer.set(array);
  return longer;
}
