import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { ClientsCommand, ClientsReply } from './yardsticks/socket-clients.ts';

/** Many sockets in another process, seen from the benchmark. */
export class FanoutClients implements Disposable {
  readonly #child: ChildProcess = fork(
    join(import.meta.dirname, 'yardsticks', 'socket-clients.ts'),
    { stdio: 'inherit' },
  );
  #rounds = 0;
  #onRound: (() => void) | null = null;

  constructor() {
    this.#child.on('message', (reply: ClientsReply) => {
      if (reply.kind !== 'round') return;
      this.#rounds += 1;
      this.#onRound?.();
    });
  }

  /** Sends a command and gives its answer. */
  async run(command: ClientsCommand): Promise<ClientsReply> {
    this.#child.send(command);
    for (;;) {
      const [reply] = (await once(this.#child, 'message')) as [ClientsReply];
      if (reply.kind !== 'round') return reply;
    }
  }

  /** Begins to count rounds of `units` deliveries on each socket. */
  async begin(units: number, roundsRecorded = 0): Promise<void> {
    await this.run({ kind: 'begin', units, roundsRecorded });
    this.#rounds = 0;
  }

  /** Settles when so many rounds were counted since `begin`. */
  async rounds(count: number, withinMs: number): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(
      () => reject(new Error(`${this.#rounds} of ${count} rounds in ${withinMs} ms`)),
      withinMs,
    );
    this.#onRound = () => {
      if (this.#rounds >= count) resolve();
    };
    this.#onRound();
    await promise.finally(() => clearTimeout(timer));
  }

  [Symbol.dispose](): void {
    this.#child.kill();
  }
}
