import { EXECUTION_VERSION } from '#shared/runtime/execution-version.ts';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { detectEngine } from '#shared/domain/engine.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import type { Outcome } from '#shared/domain/transaction.ts';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import { programOf } from '../../test/support/program.ts';

const contextId: ContextId = contextIdFromBytes(new Uint8Array(32).fill(7));
const FORUMS = ['only-peers/only-peers.wasm', 'forum-typescript/forum.js', 'forum-rhai/forum.rhai'];

test('the key-value store keeps what was set, tells of it and counts', () => {
  const store = open('kv-store/kv-store.wasm');

  store.call('init', {});
  const set = store.call('set', { key: 'ключ', value: 'é\n"x"' });
  const got = store.call('get', { key: 'ключ' });

  expect(set.outcome).toMatchObject({ status: 'ok', error: null });
  expect(set.outcome.events.map(({ kind }) => kind)).toEqual(['Inserted']);
  expect(got.output).toBe('é\n"x"');
  expect(store.call('len', {}).output).toBe(1);
  expect(store.call('remove', { key: 'ключ' }).output).toBe('é\n"x"');
  expect(store.call('entries', {}).output).toEqual({});
});

test.each(FORUMS)('the forum creates posts and comments and tells of each: %s', (file) => {
  const forum = open(file);
  const post = { id: 0, title: 'Hello', content: 'Wörld' };
  const comment = { id: 0, text: 'Hi', user: 'ada' };

  expect(forum.call('init', {}).outcome.status).toBe('ok');
  const posted = forum.call('create_post', { title: 'Hello', content: 'Wörld' });
  const commented = forum.call('create_comment', { post_id: 0, text: 'Hi', user: 'ada' });

  expect(posted.output).toEqual({ ...post, comments: [] });
  expect(eventsOf(posted)).toEqual([['PostCreated', { id: 0 }]]);
  expect(commented.output).toEqual(comment);
  expect(eventsOf(commented)).toEqual([['CommentCreated', { post_id: 0, comment_id: 0 }]]);
  expect(forum.call('posts', {}).output).toEqual([{ ...post, comments: [comment] }]);
  expect(forum.call('post', { id: 0 }).output).toEqual({ ...post, comments: [comment] });
  expect(forum.call('post', { id: 99 }).output).toBeNull();
});

test.each(FORUMS)('the forum refuses what makes no sense, and keeps nothing of it: %s', (file) => {
  const forum = open(file);
  forum.call('init', {});

  const refusals = [
    forum.call('init', {}),
    forum.call('create_post', { title: 'Hello' }),
    forum.call('create_comment', { post_id: 7, text: 'Hi', user: 'ada' }),
  ];

  for (const { outcome } of refusals) {
    expect(outcome.error).toMatch(/^the method call returned an error: \[34, [\d, ]+, 34\]$/);
    expect([outcome.changes, outcome.events]).toEqual([[], []]);
  }
});

test('a method that is not there is refused by name, whatever it is called', () => {
  const store = open('kv-store/kv-store.wasm');

  for (const method of ['nope', 'memory', '__proto__', 'constructor']) {
    expect(store.call(method, {}).outcome.error).toBe(`method "${method}" not found`);
  }
});

test('a query that writes fails and changes nothing', () => {
  const store = open('kv-store/kv-store.wasm');
  store.call('init', {});

  const written = store.call('set', { key: 'a', value: 'b' }, { readOnly: true });

  expect(written.outcome.error).toContain('Can not write to read-only store');
  expect(written.outcome.changes).toEqual([]);
});

function open(file: string) {
  const source = readFileSync(new URL(`../../examples/${file}`, import.meta.url));
  const program = programOf(source, detectEngine(file, source) ?? 'wasm');
  const state = new Map<string, Uint8Array>();
  return {
    call: (method: string, args: unknown, { readOnly = false } = {}) => {
      const { outcome } = program.execute({
        contextId,
        state,
        readOnly,
        request: {
          kind: 'mutate',
          method,
          payload: Buffer.from(JSON.stringify(args)),
          executorPublicKey: publicKeyFromBytes(new Uint8Array(32).fill(9)),
          principal: 'test',
          requestId: null,
          timeNs: 1n,
          randomSeed: new Uint8Array(32),
          executionVersion: EXECUTION_VERSION,
          fuelLimit: 1_000_000_000n,
        },
      });
      for (const { key, value } of outcome.changes) {
        const name = Buffer.from(key).toString('latin1');
        if (value === null) state.delete(name);
        else state.set(name, value);
      }
      const text = outcome.output === null ? null : Buffer.from(outcome.output).toString();
      return { outcome, output: text === null ? null : (JSON.parse(text) as unknown) };
    },
  };
}

function eventsOf({ outcome }: { readonly outcome: Outcome }): (readonly [string, unknown])[] {
  return outcome.events.map(({ kind, data }) => [kind, JSON.parse(Buffer.from(data).toString())]);
}
