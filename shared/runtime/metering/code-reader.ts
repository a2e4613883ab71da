import { invalid } from './byte-reader.ts';
import { EMPTY_BLOCK, FORM, featureOf, MISC, VALUE_TYPE } from './opcodes.ts';

/** What a block without parameters and results has in the place of a type's index. */
export const NO_RESULT = EMPTY_BLOCK - 0x80;
/** Bit of an alignment that says that the index of a memory follows. */
const HAS_MEMORY_INDEX = 0x40;

/**
 * Reads what follows opcodes, in code that V8 has validated: no bounds are checked again. Throws
 * AppError `invalid_request` for what is not allowed.
 */
export class CodeReader {
  at = 0;
  /** True once a `data.drop` was skipped: an instance cannot be put back after it. */
  hasDataDrop = false;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  opcode(): number {
    const opcode = this.#bytes[this.at] as number;
    this.at += 1;
    return opcode;
  }

  u32(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.at] as number;
      this.at += 1;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value >>> 0;
    }
  }

  /** A negative number for none or a value type, or the index of a function type. */
  blockType(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#bytes[this.at] as number;
      this.at += 1;
      value |= (byte & 0x7f) << shift;
      if (byte >= 0x80) continue;
      const isNegative = (byte & 0x40) !== 0;
      const isNumber = value === EMPTY_BLOCK || value >= (VALUE_TYPE.f64 & 0x7f);
      if (isNegative && (shift > 0 || !isNumber)) throw refused('reference types');
      return isNegative ? value - 0x80 : value;
    }
  }

  /** Skips a constant of four or eight bytes; true if it is infinite or a NaN. */
  float(bytes: 4 | 8): boolean {
    this.at += bytes;
    const high = (this.#bytes[this.at - 1] as number) & 0x7f;
    const low = this.#bytes[this.at - 2] as number;
    return high === 0x7f && low >= (bytes === 4 ? 0x80 : 0xf0);
  }

  skipImmediates(opcode: number, form: number): void {
    switch (form) {
      case FORM.plain:
        return;
      case FORM.local:
      case FORM.index:
      case FORM.number:
        this.#skipNumber();
        return;
      case FORM.address:
        if (this.u32() >= HAS_MEMORY_INDEX) throw refused('several memories');
        this.#skipNumber();
        return;
      case FORM.bytes4:
        this.at += 4;
        return;
      case FORM.bytes8:
        this.at += 8;
        return;
      case FORM.misc:
        this.misc();
        return;
      default:
        throw refused(featureOf(opcode));
    }
  }

  /** The number after the prefix 0xfc; what follows it is skipped. */
  misc(): number {
    const number = this.u32();
    if (number > MISC.memoryFill) throw refused('table operators');
    if (number <= MISC.truncateMax) return number;
    if (number === MISC.dataDrop) this.hasDataDrop = true;
    this.#skipNumber();
    if (number === MISC.memoryInit || number === MISC.memoryCopy) this.#skipNumber();
    return number;
  }

  #skipNumber(): void {
    while ((this.#bytes[this.at] as number) >= 0x80) this.at += 1;
    this.at += 1;
  }
}

function refused(feature: string) {
  return invalid(`its code uses ${feature}, which applications may not`);
}
