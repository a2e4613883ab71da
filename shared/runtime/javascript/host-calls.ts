import { encodeBase58 } from '#shared/crypto/base58.ts';
import { type Effects, GuestFault } from '../effects.ts';
import { HOST_COSTS } from '../host-costs.ts';
import type { CurrentCall } from '../host-functions.ts';
import { markBigIntegers } from './big-integers.ts';
import { type Handle, QuickJs } from './quickjs.ts';

type HostCall = (machine: QuickJs, effects: Effects, args: readonly Handle[]) => Handle;

const EMPTY = Buffer.alloc(0);

/** What the prelude calls by name. Arguments are strings or Uint8Arrays, a string being its UTF-8. */
const HOST_CALLS = new Map<string, HostCall>(
  Object.entries<HostCall>({
    get: (machine, effects, args) => {
      const value = machine.lend(args, (key = EMPTY) => effects.get(key));
      return value === null ? machine.newNull() : machine.newBytes(value);
    },
    getText: (machine, effects, args) => {
      const value = machine.lend(args, (key = EMPTY) => effects.get(key));
      return value === null ? machine.newNull() : machine.newString(value);
    },
    getJson: (machine, effects, args) => {
      const value = machine.lend(args, (key = EMPTY) => effects.get(key));
      if (value === null) return machine.newNull();
      const json = markBigIntegers(value);
      if (json !== value) effects.charge(value.length, HOST_COSTS.bigIntegerJsonByte);
      return machine.newString(json);
    },
    set: (machine, effects, args) =>
      machine.newBoolean(
        machine.lend(args, (key = EMPTY, value = EMPTY) => effects.set(key, value)) !== null,
      ),
    remove: (machine, effects, args) =>
      machine.newBoolean(machine.lend(args, (key = EMPTY) => effects.remove(key)) !== null),
    emit: (machine, effects, args) => {
      machine.lend(args, (kind = EMPTY, data = EMPTY) => effects.emit(String(kind), data));
      return machine.newUndefined();
    },
    log: (machine, effects, args) => {
      machine.lend(args, (text = EMPTY) => effects.log(String(text)));
      return machine.newUndefined();
    },
    contextId: (machine, effects) => identifier(machine, effects, effects.contextId),
    executorId: (machine, effects) => identifier(machine, effects, effects.executorId),
    timeNs: (machine, effects) => {
      effects.charge(8);
      return machine.newString(Buffer.from(String(effects.timeNs)));
    },
    fillRandom: (machine, effects, args) => {
      machine.lend(args, (target = EMPTY) => target.set(effects.randomBytes(target.length)));
      return machine.newUndefined();
    },
    encode: (machine, effects, [text = 0]) => {
      const utf8 = machine.bytes(text);
      effects.charge(utf8.length);
      return machine.newBytes(utf8);
    },
    decode: (machine, effects, [bytes = 0]) => {
      const text = machine.text(bytes);
      effects.charge(text.length);
      return machine.newString(Buffer.from(text));
    },
  }),
);

export const HOST_CALL_NAMES = [...HOST_CALLS.keys()];

/** A machine whose host functions work on whatever call is current. */
export function newMachine(current: CurrentCall): QuickJs {
  const machine: QuickJs = new QuickJs({
    timeNs: () => current.call?.effects.timeNs ?? 0n,
    call: (name, args) => {
      const hostCall = HOST_CALLS.get(name);
      if (hostCall === undefined) throw new GuestFault(`host panicked: ${name} does not exist`);
      const effects = current.call?.effects;
      if (effects !== undefined) return hostCall(machine, effects, args);
      if (name === 'log') return machine.newUndefined();
      throw new GuestFault(`${name} can only be called while a method runs`);
    },
  });
  return machine;
}

function identifier(machine: QuickJs, effects: Effects, id: Uint8Array): Handle {
  effects.charge(id.length);
  return machine.newString(Buffer.from(encodeBase58(id)));
}
