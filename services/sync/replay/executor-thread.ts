import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { assert } from '#shared/util/assert.ts';
import { ReplayExecutor } from './executor.ts';
import {
  type Acknowledgement,
  type FromReplay,
  type ToExecutor,
  WATCH_SEQUENCE,
} from './messages.ts';

/** The thread that runs guests again, and nothing else: one that hangs is ended from outside. */
const port = parentPort;
assert(port !== null, 'this file runs in a worker thread');
const { reader, watch } = workerData as {
  readonly reader: MessagePort;
  readonly watch: SharedArrayBuffer;
};
const watched = new BigInt64Array(watch);
const executor = new ReplayExecutor((sequence) => {
  Atomics.store(watched, WATCH_SEQUENCE, sequence);
});
let isSettled = true;

reader.on('message', (message: ToExecutor) => {
  if (message.kind === 'open' || message.kind === 'unrunnable') isSettled = false;
  const wasSettled = isSettled;
  const isProgram = message.kind === 'program' || message.kind === 'forget-programs';
  if (!isSettled || isProgram) handle(message);
  const acknowledgement: Acknowledgement = { isSettled: isSettled && !wasSettled };
  reader.postMessage(acknowledgement);
});

function handle(message: ToExecutor): void {
  try {
    const result = executor.handle(message);
    if (message.kind === 'open') tell({ kind: 'planned', plan: message.plan });
    if (message.kind === 'rows') tell({ kind: 'progress', done: executor.done });
    if (result === null) return;
    isSettled = true;
    tell({ kind: 'finished', result });
  } catch (error) {
    isSettled = true;
    const sequence = Atomics.load(watched, WATCH_SEQUENCE);
    const where = sequence === 0n ? '' : `transaction ${sequence} could not be run: `;
    const reason = error instanceof Error ? error.message : 'unknown failure';
    tell({ kind: 'failed', code: null, message: `${where}${reason}` });
  } finally {
    Atomics.store(watched, WATCH_SEQUENCE, 0n);
  }
}

function tell(message: FromReplay): void {
  port?.postMessage(message);
}
