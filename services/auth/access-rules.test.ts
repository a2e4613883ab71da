import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { can, type Grant, PERMISSIONS } from '#shared/domain/permissions.ts';
import { contextIdFromBytes } from '#shared/protocol/ids.ts';
import { AccessRules } from './access-rules.ts';

const here = contextIdFromBytes(new Uint8Array(32).fill(1));
const there = contextIdFromBytes(new Uint8Array(32).fill(2));
const builtIn: readonly Grant[] = [{ permissions: ['context_read'], contexts: '*' }];

const of = (rules: AccessRules, name: string) => ({ grants: rules.grantsFor([name], builtIn) });

test('a user has what it is allowed, what its roles allow and what everybody has, less what is denied', () => {
  const rules = AccessRules.parse(`
    [[user]]
    allow = ["application_read"]

    [[user]]
    id = "alice"
    principals = ["client-key:a", "identity:i"]
    roles = "writer, reader"
    deny = ["context_delete"]

    [[role]]
    id = "reader"
    allow = "context_query"

    [[role]]
    id = "writer"
    roles = ["reader"]
    allow = ["context_mutate", "context_delete"]
    contexts = ["${here}"]
  `);
  const alice = of(rules, 'client-key:a');

  expect(can(alice, 'context_query', there)).toBe(true);
  expect(can(alice, 'context_mutate', here)).toBe(true);
  expect(can(alice, 'context_mutate', there)).toBe(false);
  expect(can(alice, 'context_mutate')).toBe(false);
  expect(can(alice, 'context_delete', here)).toBe(false);
  expect(can(alice, 'application_read')).toBe(true);
  expect(can(alice, 'context_read', there)).toBe(true);
  expect(can(of(rules, 'identity:i'), 'context_mutate', here)).toBe(true);
  expect(can(of(rules, 'client-key:b'), 'context_query', here)).toBe(false);
  expect(can(of(rules, 'client-key:b'), 'application_read')).toBe(true);
  expect(can({ grants: rules.anonymous }, 'application_read')).toBe(true);
  expect(can({ grants: rules.anonymous }, 'context_read')).toBe(false);
});

test('bare takes away what everybody has, unrestricted gives all', () => {
  const rules = AccessRules.parse(`
    user = [
      { allow = "application_read" },
      { id = "bare", principals = ["client-key:a"], bare = true, allow = "blob_read" },
      { id = "root", principals = ["client-key:b"], unrestricted = true },
    ]
  `);

  expect(of(rules, 'client-key:a').grants).toEqual([{ permissions: ['blob_read'], contexts: '*' }]);
  expect(can(of(rules, 'client-key:b'), 'identity_manage')).toBe(true);
});

test('what is denied to everybody is denied, except to who is bare; no contexts are none', () => {
  const rules = AccessRules.parse(`
    [[user]]
    deny = ["context_read"]
    allow = ["context_query"]
    contexts = []
    [[user]]
    id = "bare"
    principals = ["client-key:a"]
    bare = true
    allow = ["context_read"]
  `);

  expect(can(of(rules, 'client-key:b'), 'context_read', here)).toBe(false);
  expect(can(of(rules, 'client-key:a'), 'context_read', here)).toBe(true);
  expect(can({ grants: rules.anonymous }, 'context_query', here)).toBe(false);
});

test.each([
  ['[[user]]\nallow = ["context_fly"]', 'Unknown permission: context_fly'],
  ['[[user]]\nallow = 5', /user.*allow/],
  ['[[user]]\nbare = "true"', /bare/],
  ['[[user]]\nallowed = []', /allowed/],
  ['[[role]]\nid = "r"\ndeny = ["blob_read"]', 'Only users can have deny entries'],
  ['[[user]]\nid = "u"\nroles = ["nope"]', 'Unknown role: nope'],
  ['[[user]]\nid = "u"\n[[user]]\nid = "u"', 'User u is there twice'],
  [
    '[[user]]\nid = "u"\n[[user]]\nallow = ["blob_read"]',
    'Changes to the default user must appear before other users in the access config file',
  ],
  ['[[user]]\nunrestricted = true\ndeny = ["blob_read"]', /leaves nothing to deny/],
  ['[[user]]\ncontexts = ["x"]\nallow = "blob_read"', 'Not a context id: x'],
  ['[[user', /./],
  [
    '[[user]]\nid="a"\nprincipals=["k"]\n[[user]]\nid="b"\nprincipals=["k"]',
    'k is named by two users',
  ],
])('%j is an error', (text, reason) => {
  expect(() => AccessRules.parse(text)).toThrow(reason);
});

test('the guide has a file that is good as it is, and every permission', async () => {
  const guide = new URL('../../docs/guides/identity.md', import.meta.url);
  const text = await readFile(guide, 'utf8');

  const [, file = ''] = /```toml\n(.*?)```/s.exec(text) ?? [];
  expect(file).toContain('[[user]]');
  const rules = AccessRules.parse(file);
  expect(can({ grants: rules.anonymous }, 'application_read')).toBe(true);
  const filled = file
    .replace('# principals = ["client-key:<signing_key>"]', 'principals = ["client-key:a"]')
    .replace('# contexts = ["<context id>"]', `contexts = ["${here}"]`);
  const alice = of(AccessRules.parse(filled), 'client-key:a');
  expect([can(alice, 'context_query', here), can(alice, 'context_query', there)]).toEqual([
    true,
    false,
  ]);

  const inTable = [...text.matchAll(/^\| `([a-z]+_[a-z]+)` +\| [^|]+\| [^|]+\|$/gm)].map(
    ([, name]) => name,
  );
  expect(inTable.filter((name) => PERMISSIONS.some((known) => known === name))).toEqual([
    ...PERMISSIONS,
  ]);
});
