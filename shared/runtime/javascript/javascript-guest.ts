import { readFileSync } from 'node:fs';
import { AppError } from '#shared/domain/app-error.ts';
import { type Effects, GuestFault } from '../effects.ts';
import type { CurrentCall } from '../host-functions.ts';
import { Spare } from '../instance-pool.ts';
import { MeteredGuest } from '../metered-guest.ts';
import type { ExecutionInput, ExecutionResult } from '../runtime.ts';
import { trapText } from '../trap-text.ts';
import { HOST_CALL_NAMES, newMachine } from './host-calls.ts';
import { EVAL, type Handle, type QuickJs, Thrown } from './quickjs.ts';
import { quickJsModule } from './quickjs-module.ts';

/** The prelude's functions by which the host comes in. */
const ENTRANCES = ['load', 'invoke', 'beginScript', 'endScript', 'describe'] as const;
export type Entrances = Readonly<Record<(typeof ENTRANCES)[number], Handle>>;

const PRELUDE = readFileSync(new URL('prelude.js', import.meta.url));
/** What `import … from 'cairn'` gives; nothing else can be imported. */
const SDK = Buffer.from(
  'export const { storage, emit, log, fail, contextId, executorId, timeNs, randomBytes } = globalThis;',
);
const PANIC = 'guest panicked: ';

/** What all applications and scripts of a thread take turns with. */
const current: CurrentCall = { call: null };
const machine = newMachine(current);
const spare = new Spare();

/**
 * Runs JavaScript in a QuickJS that every call finds as it was after loading. All that an execution
 * leaves behind is in the memory of the machine, which is put back: variables of modules, changed
 * prototypes and pending jobs do not reach the next call.
 */
export class JavaScriptGuest {
  readonly #guest: MeteredGuest;
  #entrances: Entrances | null = null;

  /** `load` brings the application into the machine. Throws AppError `invalid_request` when it fails. */
  constructor(load: (machine: QuickJs, entrances: Entrances) => void) {
    this.#guest = new MeteredGuest({
      code: quickJsModule(),
      imports: machine.imports,
      current,
      spare,
      prepare: (exports) => {
        machine.attach(exports);
        machine.start();
        const entrances = evaluatePrelude();
        this.#entrances = entrances;
        refusingFaults(entrances, () => load(machine, entrances));
      },
    });
  }

  /** Runs `act`, which gives the answer: a text of JSON, or undefined, or a promise of them. */
  execute(
    input: ExecutionInput,
    act: (machine: QuickJs, entrances: Entrances) => Handle,
  ): ExecutionResult {
    return this.#guest.execute(input, (exports, effects) => {
      machine.attach(exports);
      const entrances = this.#entrances as Entrances;
      try {
        return keepAnswer(machine.settle(act(machine, entrances)), effects);
      } catch (error) {
        if (!(error instanceof Thrown)) throw error;
        const ending = describe(entrances, error);
        if (ending.startsWith('!')) return ending.slice(1);
        effects.returnValue(Buffer.from(ending.slice(1)), true);
        return undefined;
      }
    });
  }
}

function evaluatePrelude(): Entrances {
  const prelude = machine.evaluate(PRELUDE, 'cairn', EVAL.strict);
  const entrances = machine.call(prelude, machine.newHostFunctions(HOST_CALL_NAMES));
  machine.settle(machine.evaluate(SDK, 'cairn', EVAL.module));
  return Object.fromEntries(
    ENTRANCES.map((name) => [name, machine.property(entrances, name)]),
  ) as Entrances;
}

function keepAnswer(answer: Handle, effects: Effects): string | undefined {
  if (machine.isUndefined(answer)) return undefined;
  // Only an application that replaced `Promise` gets here.
  if (!machine.isString(answer)) return `${PANIC}the answer is not JSON`;
  effects.returnValue(machine.bytes(answer), false);
  return undefined;
}

/** Turns what the guest may do wrong while it loads into a refusal to install it. */
function refusingFaults(entrances: Entrances, load: () => void): void {
  try {
    load();
  } catch (error) {
    throw notInstallable(reasonOf(entrances, error));
  }
}

function reasonOf(entrances: Entrances, error: unknown): string {
  const isThrown = error instanceof Thrown;
  const text = isThrown ? describe(entrances, error).slice(1) : faultText(error);
  const missing = /could not load module '(.*?)'/.exec(text)?.[1];
  if (isThrown && missing !== undefined) {
    return `it imports "${missing}"; only "cairn" can be imported, all else must be in the file`;
  }
  return text.startsWith(PANIC) ? text.slice(PANIC.length) : text;
}

/** Throws what is the host's fault. */
function faultText(error: unknown): string {
  const text = error instanceof GuestFault ? error.message : trapText(error);
  if (text === null) throw error;
  return text;
}

function describe(entrances: Entrances, { value }: Thrown): string {
  try {
    return machine.text(machine.call(entrances.describe, value));
  } catch (error) {
    if (!(error instanceof Thrown)) throw error;
    return `!${PANIC}what was thrown cannot be shown`;
  }
}

export function notInstallable(reason: string): AppError {
  return new AppError('invalid_request', `the application cannot be installed: ${reason}`);
}
