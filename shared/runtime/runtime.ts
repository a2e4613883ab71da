import type { Outcome, TransactionRequest } from '#shared/domain/transaction.ts';
import type { ApplicationId, ContextId } from '#shared/domain/ids.ts';

/** Reads of committed-or-speculative state. Keys are 32 bytes as latin1 text. */
interface StateReader {
  get(key: string): Uint8Array | undefined;
}

/** Everything one execution depends on: the same input gives the same outcome on every machine. */
export interface ExecutionInput {
  readonly contextId: ContextId;
  readonly request: TransactionRequest;
  readonly state: StateReader;
  /** A query refuses to write. */
  readonly readOnly: boolean;
}

/** An outcome and what is shown to the operator but is not part of the log. */
export interface ExecutionResult {
  readonly outcome: Outcome;
  readonly logs: readonly string[];
  /** False when there is no such method: nothing ran, and nothing is left in the log. */
  readonly hasRun: boolean;
}

/** A validated, compiled application, able to run any number of executions one at a time. */
export interface Program {
  readonly applicationId: ApplicationId;
  /** True when the application exports a callable `init`. */
  readonly hasInit: boolean;
  /** Synchronous; throws only for a fault of the host, never for one of the guest. */
  execute(input: ExecutionInput): ExecutionResult;
}
