import type { Outcome, Transaction } from '#shared/domain/transaction.ts';
import type { Rehearsal } from '#shared/protocol/audit-api.ts';
import { differingFields, unlikeFields } from './describe.ts';

type Counts = Pick<Rehearsal, 'compared' | 'same' | 'differing' | 'first'>;

const COMPARED = ['status', 'output', 'events', 'changes'] as const;

/** Counts in what the transactions of a rehearsal came out differently, and keeps the first. */
export class RehearsalCount {
  compared = 0;
  #same = 0;
  readonly #differing = {
    status: 0,
    output: 0,
    events: 0,
    changes: 0,
    failsNow: 0,
    succeedsNow: 0,
  };
  #first: Counts['first'] = null;

  outcomeWith(migration: Rehearsal['migration']): Rehearsal['outcome'] {
    if (migration !== null) return migration.status === 'ok' ? 'migrated' : 'migration failed';
    return this.#same === this.compared ? 'same' : 'different';
  }

  get counts(): Counts {
    const differing = { ...this.#differing };
    return { compared: this.compared, same: this.#same, differing, first: this.#first };
  }

  /** An error's text and the cost may differ between applications that do the same. */
  add(sequence: bigint, logged: Transaction, outcome: Outcome): void {
    this.compared += 1;
    const unlike = unlikeFields(logged, outcome);
    const differing = COMPARED.filter((field) => unlike.has(field));
    if (differing.length === 0) {
      this.#same += 1;
      return;
    }
    for (const field of differing) this.#differing[field] += 1;
    if (unlike.has('status')) {
      this.#differing[outcome.status === 'failed' ? 'failsNow' : 'succeedsNow'] += 1;
    }
    if (this.#first !== null) return;
    const fields = differingFields(logged, outcome).filter(
      ({ field }) => field === 'error' || COMPARED.some((compared) => compared === field),
    );
    this.#first = { sequence: sequence.toString(), fields };
  }
}
