import type { ApplicationId } from '#shared/domain/ids.ts';
import { compileProgram } from '#shared/runtime/engines.ts';
import type { Program } from '#shared/runtime/runtime.ts';
import { assert } from '#shared/util/assert.ts';
import { Execution, verificationOf } from './execution.ts';
import type { ReplayResult, ToExecutor } from './messages.ts';

/** Takes what a feeder sends, in order: one replay after the other, and the programs of them all. */
export class ReplayExecutor {
  readonly #onRun: (sequence: bigint) => void;
  readonly #programs = new Map<ApplicationId, Program>();
  #execution: Execution | null = null;

  /** `onRun` is called with the sequence of each transaction before it is run. */
  constructor(onRun: (sequence: bigint) => void) {
    this.#onRun = onRun;
  }

  /** Transactions of this replay that were run so far. */
  get done(): number {
    return this.#execution?.done ?? 0;
  }

  /** Gives the result with the message that settles it; what still comes is of no use then. */
  handle(message: ToExecutor): ReplayResult | null {
    switch (message.kind) {
      case 'forget-programs':
        this.#programs.clear();
        return null;
      case 'program':
        this.#programs.set(message.code.applicationId, compileProgram(message.code));
        return null;
      case 'open': {
        const { plan } = message;
        const programOf = (id: ApplicationId) => this.#programOf(id);
        this.#execution = new Execution({ plan, programOf, onRun: this.#onRun });
        return null;
      }
      case 'unrunnable':
        return verificationOf(message.plan, 0, message.broken);
      default:
        assert(this.#execution !== null, 'a replay is opened before it is fed');
        return feed(this.#execution, message);
    }
  }

  #programOf(applicationId: ApplicationId): Program {
    const program = this.#programs.get(applicationId);
    assert(program !== undefined, 'a program is sent before it is used');
    return program;
  }
}

type Fed = Extract<ToExecutor, { kind: 'state' | 'diffs' | 'rows' | 'migration' | 'end' }>;

function feed(execution: Execution, message: Fed): ReplayResult | null {
  switch (message.kind) {
    case 'state':
      execution.load(message.entries);
      return null;
    case 'diffs':
      execution.apply(message.page);
      return null;
    case 'rows':
      return execution.run(message);
    case 'migration':
      execution.migrate(message.request);
      return null;
    case 'end':
      return execution.finish(message.broken);
  }
}
