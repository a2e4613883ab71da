import type { Logger } from 'pino';
import type { Bus, BusResponder } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { decodeExecuteRequest, encodeExecuteReply } from '#shared/protocol/execute-messages.ts';
import { type ExecuteRequest, partitionOf } from '#shared/protocol/internal-messages.ts';
import type { Executor } from './execution/executor.ts';

export interface RespondersOptions {
  readonly bus: Bus;
  readonly executor: Executor;
  readonly log: Logger;
  /** Of this process: a word that no other has. */
  readonly id: string;
  /** False as soon as a partition is handed over. */
  readonly isOwned: (partition: number) => boolean;
}

/**
 * While a partition goes from one owner to the next both may listen, and only one of them may get
 * a request: the other's word that nothing was done would not be the last.
 */
const QUEUE = 'execute';

/** Serves what others ask over the bus: by partition of ours, and by the id of this executor. */
export class Responders {
  readonly #options: RespondersOptions;
  readonly #partitions = new Map<number, BusResponder>();
  #direct: BusResponder | undefined;

  constructor(options: RespondersOptions) {
    this.#options = options;
  }

  start(): void {
    const { bus, id } = this.#options;
    this.#direct = bus.respond(subjects.executor(id), null, (payload) =>
      this.#serve(payload, this.#demandOwned),
    );
  }

  /** Resolves once what was on its way is refused, so that its sender asks the next owner. */
  async stop(): Promise<void> {
    await this.#direct?.drain();
  }

  add(partition: number): void {
    const { bus } = this.#options;
    const responder = bus.respond(subjects.execute(partition), QUEUE, (payload) =>
      this.#serve(payload, () => undefined),
    );
    this.#partitions.set(partition, responder);
  }

  /** Resolves once what was on its way has arrived. */
  async remove(partition: number): Promise<void> {
    const responder = this.#partitions.get(partition);
    this.#partitions.delete(partition);
    await responder?.drain();
  }

  /** Who knows this executor keeps asking it, also for what it is about to hand over. */
  readonly #demandOwned = ({ contextId }: ExecuteRequest): void => {
    if (this.#options.isOwned(partitionOf(contextId))) return;
    throw new AppError('stale_epoch', 'this executor does not own the context');
  };

  async #serve(
    payload: Uint8Array,
    demand: (request: ExecuteRequest) => void,
  ): Promise<Uint8Array> {
    const { executor, id, log } = this.#options;
    try {
      const request = decodeExecuteRequest(payload);
      demand(request);
      return encodeExecuteReply({ reply: await executor.execute(request), executorId: id });
    } catch (error) {
      if (!(error instanceof AppError)) log.error({ err: error }, 'a request failed');
      throw error;
    }
  }
}
