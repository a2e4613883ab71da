import type { Principal } from '#shared/domain/permissions.ts';
import type { Credentials } from '#shared/service/authenticate.ts';
import { Gate } from '#shared/util/gate.ts';
import type { Caller } from './caller.ts';

/** An open connection whose caller is judged again. */
export interface Judged {
  readonly caller: Caller;
  become(principal: Principal): void;
  /** Its credentials are refused now. */
  refuse(): void;
}

/** Judges credentials that were accepted before; null when they are refused now. */
export type Recheck = (credentials: Credentials) => Promise<Principal | null>;

const RECHECKS_AT_ONCE = 32;

/** Keys, tokens and rules may have changed: who may not be here any more is told to go. */
export async function recheckAll(
  all: Iterable<Judged>,
  recheck: Recheck,
  onError: (error: unknown) => void,
): Promise<void> {
  const gate = new Gate(RECHECKS_AT_ONCE);
  const judgedBefore = new Map<string, Promise<Principal | null>>();
  const judge = async (judged: Judged): Promise<void> => {
    const { credentials } = judged.caller;
    const key = JSON.stringify(credentials);
    const judging = judgedBefore.get(key) ?? gate.run(() => recheck(credentials));
    judgedBefore.set(key, judging);
    const principal = await judging;
    // It may have authenticated anew meanwhile.
    if (judged.caller.credentials !== credentials) return;
    if (principal !== null) judged.become(principal);
    else judged.refuse();
  };
  // One that cannot be judged now stays until the next time.
  await Promise.all([...all].map((each) => judge(each).catch(onError)));
}
