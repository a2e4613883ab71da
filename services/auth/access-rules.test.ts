import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { encodeBase58 } from '#shared/crypto/base58.ts';
import { can, type Grant, PERMISSIONS } from '#shared/domain/permissions.ts';
import { contextIdFromBytes } from '#shared/protocol/ids.ts';
import { AccessRules } from './access-rules.ts';

const here = contextIdFromBytes(new Uint8Array(32).fill(1));
const there = contextIdFromBytes(new Uint8Array(32).fill(2));
const builtIn: readonly Grant[] = [{ permissions: ['context_read'], contexts: '*' }];

const keyOf = (seed: number) =>
  `client-key:${encodeBase58(Buffer.concat([Buffer.from('08011220', 'hex'), Buffer.alloc(32, seed)]))}`;
const KEYS = { a: keyOf(1), b: keyOf(2) };
const IDENTITY = `identity:${here}`;
const ADDRESS = '0x04a4e95eEEbe44a0f37b75F40957445d2D16A88C';

const of = (rules: AccessRules, name: string) => ({ grants: rules.grantsFor([name], builtIn) });

test('a user has what it is allowed, what its roles allow and what everybody has, less what is denied', () => {
  const rules = AccessRules.parse(`
    [[user]]
    allow = ["application_read"]

    [[user]]
    id = "alice"
    principals = ["${KEYS.a}", "${IDENTITY}"]
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
  const alice = of(rules, KEYS.a);

  expect(can(alice, 'context_query', there)).toBe(true);
  expect(can(alice, 'context_mutate', here)).toBe(true);
  expect(can(alice, 'context_mutate', there)).toBe(false);
  expect(can(alice, 'context_mutate')).toBe(false);
  expect(can(alice, 'context_delete', here)).toBe(false);
  expect(can(alice, 'application_read')).toBe(true);
  expect(can(alice, 'context_read', there)).toBe(true);
  expect(can(of(rules, IDENTITY), 'context_mutate', here)).toBe(true);
  expect(can(of(rules, KEYS.b), 'context_query', here)).toBe(false);
  expect(can(of(rules, KEYS.b), 'application_read')).toBe(true);
  expect(can({ grants: rules.anonymous }, 'application_read')).toBe(true);
  expect(can({ grants: rules.anonymous }, 'context_read')).toBe(false);
});

test('bare takes away what everybody has, unrestricted gives all', () => {
  const rules = AccessRules.parse(`
    user = [
      { allow = "application_read" },
      { id = "bare", principals = ["${KEYS.a}"], bare = true, allow = "blob_read" },
      { id = "root", principals = ["${KEYS.b}"], unrestricted = true },
    ]
  `);

  expect(of(rules, KEYS.a).grants).toEqual([{ permissions: ['blob_read'], contexts: '*' }]);
  expect(can(of(rules, KEYS.b), 'identity_manage')).toBe(true);
});

test('what is denied to everybody is denied, except to who is bare; no contexts are none', () => {
  const rules = AccessRules.parse(`
    [[user]]
    deny = ["context_read"]
    allow = ["context_query"]
    contexts = []
    [[user]]
    id = "bare"
    principals = ["${KEYS.a}"]
    bare = true
    allow = ["context_read"]
  `);

  expect(can(of(rules, KEYS.b), 'context_read', here)).toBe(false);
  expect(can(of(rules, KEYS.a), 'context_read', here)).toBe(true);
  expect(can({ grants: rules.anonymous }, 'context_query', here)).toBe(false);
});

test('an address of Ethereum is the same in any case', () => {
  const rules = AccessRules.parse(`
    [[user]]
    id = "eve"
    principals = ["root-key:${ADDRESS}"]
    allow = "blob_read"
  `);

  expect(can(of(rules, `root-key:${ADDRESS.toLowerCase()}`), 'blob_read')).toBe(true);
});

const user = (id: string, rest: string) => `[[user]]\nid = "${id}"\n${rest}\n`;
const named = (principal: string) => user('u', `principals = ["${principal}"]`);

test.each([
  ['[[user]]\nallow = ["context_fly"]', 'default user: Unknown permission: context_fly'],
  ['[[user]]\nallow = 5', /user.*allow/],
  [user('u', 'allow = 5'), /user u: allow/],
  ['[[user]]\nbare = "true"', /bare/],
  ['[[user]]\nallowed = []', /allowed/],
  ['[[role]]\nid = "r"\ndeny = ["blob_read"]', 'role r: Only users can have deny entries'],
  ['[[role]]\nid = "r"\nallow = ["context_fly"]', 'role r: Unknown permission: context_fly'],
  ['[[role]]\nid = "r"\ncontexts = ["x"]', 'role r: Not a context id: x'],
  ['[[role]]\nid = "r"\nroles = ["r"]', 'role r: Role r has itself among its roles'],
  [user('u', 'roles = ["nope"]'), 'user u: Unknown role: nope'],
  [named(KEYS.a) + named(KEYS.b), 'user u: it is there twice'],
  [
    `${named(KEYS.a)}[[user]]\nallow = ["blob_read"]`,
    'Changes to the default user must appear before other users in the access config file',
  ],
  ['[[user]]\nunrestricted = true\ndeny = ["blob_read"]', /leaves nothing to deny/],
  [user('u', 'contexts = ["x"]\nallow = "blob_read"'), 'user u: Not a context id: x'],
  ['[[user', /./],
  [
    named(KEYS.a) + user('b', `principals=["${KEYS.a}"]`),
    `user b: ${KEYS.a} is named by two users`,
  ],
  [user('u', 'allow = "blob_read"'), 'user u: it has no principals'],
  [`[[user]]\nprincipals = ["${KEYS.a}"]`, 'default user: it has principals, but no id'],
  [named('clientkey:x'), 'user u: Not a principal: clientkey:x; it is client-key:<base58>,'],
  [named('x'), 'user u: Not a principal: x'],
  [named('client-key:abc'), 'user u: Not a principal: client-key:abc'],
  [named('identity:abc'), 'user u: Not a principal: identity:abc'],
  [named('root-key:0x12'), 'user u: Not a principal: root-key:0x12'],
  [named('jwt:abc'), 'user u: Not a principal: jwt:abc'],
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
    .replaceAll(/^# ?/gm, '')
    .replace('client-key:<signing_key>', KEYS.a)
    .replace('<context id>', here);
  const alice = of(AccessRules.parse(filled), KEYS.a);
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
