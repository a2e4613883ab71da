import { isUtf8 } from 'node:buffer';
import type { ApplicationId } from '#shared/domain/ids.ts';
import { limits } from '../limits.ts';
import { refused } from '../metered-guest.ts';
import type { ExecutionInput, ExecutionResult, Program } from '../runtime.ts';
import { markBigIntegers } from './big-integers.ts';
import { type Entrances, JavaScriptGuest, notInstallable } from './javascript-guest.ts';
import { EVAL, type QuickJs } from './quickjs.ts';

/**
 * Loads an application: an ES module whose exported functions are its methods. A method gets the
 * arguments as one object and returns JSON, or a promise of it; `undefined` is no output. Integers
 * beyond 2^53 are BigInts, coming and going. Throws AppError `invalid_request` that says why, and
 * where, it cannot be installed.
 */
export function compileJavaScriptProgram(
  applicationId: ApplicationId,
  source: Uint8Array,
): Program {
  if (source.length > limits.scriptBytesMax) {
    throw notInstallable(
      `it has ${source.length} bytes of JavaScript, more than ${limits.scriptBytesMax}`,
    );
  }
  if (!isUtf8(source)) throw notInstallable('it is not UTF-8 text');
  let methods: ReadonlySet<string> = new Set();
  const guest = new JavaScriptGuest((machine, entrances) => {
    methods = loadModule(machine, entrances, source);
  });
  if (methods.size === 0) throw notInstallable('it exports no function that could be called');
  return {
    applicationId,
    hasInit: methods.has('init'),
    execute: (input) => {
      const { method, payload } = input.request;
      if (!methods.has(method)) return refused(`method ${JSON.stringify(method)} not found`);
      return guest.execute(input, (machine, { invoke }) => {
        const name = machine.newString(Buffer.from(method));
        return machine.call(invoke, name, machine.newString(markBigIntegers(payload)));
      });
    },
  };
}

let scripts: JavaScriptGuest | null = null;

/**
 * Runs a script once, with the globals `CALLER_ID` and `CONTEXT_ID` (base58) and what applications
 * import from `cairn`. The output is its completion value as JSON: `let x = 10; x * 2` gives `20`.
 * `await` works at the top level; a promise as the last value is waited for.
 */
export function runJavaScript(script: Uint8Array, input: ExecutionInput): ExecutionResult {
  if (script.length > limits.scriptBytesMax) {
    return refused(`the script has more than ${limits.scriptBytesMax} bytes`);
  }
  scripts ??= new JavaScriptGuest(() => {});
  return scripts.execute(input, (machine, { beginScript, endScript }) => {
    const caller = machine.newString(Buffer.from(input.request.executorPublicKey));
    machine.call(beginScript, caller, machine.newString(Buffer.from(input.contextId)));
    const completion = machine.settle(machine.evaluate(script, 'script.js', EVAL.script));
    return machine.call(endScript, completion);
  });
}

function loadModule(machine: QuickJs, { load }: Entrances, source: Uint8Array): Set<string> {
  const namespace = machine.settle(machine.evaluate(source, 'application.js', EVAL.module));
  return new Set(JSON.parse(machine.text(machine.call(load, namespace))) as string[]);
}
