import { type ByteReader, invalid } from './byte-reader.ts';
import { VALUE_TYPE } from './opcodes.ts';

/**
 * Bounds on what costs time or memory at installation or for each instance, where no fuel is paid:
 * several times what compilers make of large programs. V8's own limits allow a module of 8 MB that
 * takes a minute to validate.
 */
export const moduleLimits = {
  typesMax: 10_000,
  /** Of one type. */
  parametersMax: 64,
  resultsMax: 32,
  functionsMax: 100_000,
  importsMax: 1_000,
  exportsMax: 10_000,
  globalsMax: 1_000,
  tablesMax: 10,
  /** Of all tables together. */
  tableEntriesMax: 100_000,
  /** What fills the tables. */
  elementBytesMax: 1_048_576,
  /** Of one function. */
  localsMax: 10_000,
  localsTotalMax: 4_000_000,
} as const;

/** Refuses what a limit does not allow. */
export function checkLimit(count: number, limit: keyof typeof moduleLimits, what: string): void {
  const most = moduleLimits[limit];
  if (count > most) throw invalid(`the module has ${count} ${what}, more than ${most}`);
}

/** Checks the locals that the functions of a code section declare. */
export function checkLocals(reader: ByteReader): void {
  let total = 0;
  for (let left = reader.isDone ? 0 : reader.u32(); left > 0; left -= 1) {
    const length = reader.u32();
    const end = reader.at + length;
    let locals = 0;
    for (let groups = reader.u32(); groups > 0; groups -= 1) {
      locals += reader.u32();
      const type = reader.u8();
      const isNumber = type >= VALUE_TYPE.f64 && type <= VALUE_TYPE.i32;
      if (!isNumber) throw invalid('the module has locals that are not numbers');
    }
    checkLimit(locals, 'localsMax', 'locals in one function');
    total += locals;
    checkLimit(total, 'localsTotalMax', 'locals');
    if (reader.at > end) throw invalid('the module is truncated or malformed');
    reader.skip(end - reader.at);
  }
}
