import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Bus } from '#shared/bus/bus.ts';
import { connectNats } from '#shared/bus/nats-bus.ts';
import { inboxPrefixOf, subjects } from '#shared/bus/subjects.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import { eventually } from '../support/eventually.ts';
import { type SecuredNats, startSecuredNats } from '../support/secured-nats.ts';

const CONTEXT = 'context' as ContextId;
const nothing = new Uint8Array();
const soon = () => ({ deadlineMs: Date.now() + 2_000 });

let stack: AsyncDisposableStack;
let nats: SecuredNats;
const refusals: string[] = [];
beforeAll(async () => {
  stack = new AsyncDisposableStack();
  nats = stack.use(await startSecuredNats());
});
afterAll(() => stack.disposeAsync());

async function connect(user: string, password = nats.passwordOf(user)): Promise<Bus> {
  const options = { user, password, inboxPrefix: inboxPrefixOf(user) };
  return stack.use(
    await connectNats(nats.url, user, {
      ...options,
      onError: (reason) => refusals.push(`${user}: ${reason}`),
    }),
  );
}

test('with the credentials of sync nothing can be executed', async () => {
  const [executor, admin, sync] = await Promise.all(
    ['rpc-executor', 'admin', 'sync'].map((user) => connect(user)),
  );
  let executed = 0;
  executor?.respond(subjects.execute(1), null, async () => {
    executed += 1;
    return nothing;
  });

  // Its own subscription comes to the server before its own request.
  await executor?.request(subjects.execute(1), nothing, soon());
  await admin?.request(subjects.execute(1), nothing, soon());
  await expect(sync?.request(subjects.execute(1), nothing, soon())).rejects.toThrow();

  expect(executed).toBe(2);
  await eventually(() =>
    refusals.includes(`sync: publish ${subjects.execute(1)} is not permitted`),
  );
});

describe('with the credentials of a fan-out', () => {
  test('no answer can be given in the name of an executor', async () => {
    const [fanout, admin] = await Promise.all(
      ['subscription-fanout', 'admin'].map((user) => connect(user)),
    );
    fanout?.respond(subjects.execute(2), null, async () => nothing);

    await expect(admin?.request(subjects.execute(2), nothing, soon())).rejects.toThrow(
      'nobody is listening',
    );

    await eventually(() =>
      refusals.includes(
        `subscription-fanout: subscription ${subjects.execute(2)} is not permitted`,
      ),
    );
  });

  test('no transaction can be announced, and no change of keys', async () => {
    const executor = await connect('rpc-executor');
    const listening = await connect('subscription-fanout');
    const forging = await connect('subscription-fanout');
    const heard: string[] = [];
    for (const subject of [subjects.log(CONTEXT), subjects.authChanged]) {
      listening.subscribe(subject, (payload) => heard.push(Buffer.from(payload).toString()));
    }
    // A subscription is in place once the server has answered something sent after it.
    await listening.request(subjects.authVerify, nothing, soon()).catch(() => undefined);

    forging.publish(subjects.log(CONTEXT), Buffer.from('forged'));
    forging.publish(subjects.authChanged, Buffer.from('forged'));
    await forging.request(subjects.authVerify, nothing, soon()).catch(() => undefined);
    executor.publish(subjects.log(CONTEXT), Buffer.from('real'));

    await eventually(() => heard.length > 0);
    expect(heard).toEqual(['real']);
  });

  test('nobody else’s answers can be read', async () => {
    const fanout = await connect('subscription-fanout');

    fanout.subscribe(`${inboxPrefixOf('admin')}.>`, () => undefined);

    await eventually(() =>
      refusals.includes('subscription-fanout: subscription _INBOX_admin.> is not permitted'),
    );
  });
});

test('without the password of a service there is no connection', async () => {
  await expect(connect('auth', 'wrong')).rejects.toThrow('Authorization Violation');
  await expect(connectNats(nats.url, 'nobody')).rejects.toThrow('Authorization Violation');
});
