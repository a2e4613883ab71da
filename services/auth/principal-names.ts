import { decodeId } from '#shared/crypto/base58.ts';
import { parsePublicKey } from '#shared/protocol/ids.ts';
import type { Database } from '#shared/store/database.ts';
import { listClientKeys, listRootKeys } from '#shared/store/key-store.ts';
import { isMemberAnywhere } from '#shared/store/member-store.ts';
import { decodeClientKey } from './client-key.ts';
import { normalized } from './login.ts';
import { isRootKey } from './root-key.ts';

/** What makes tokens beside client keys. */
const OPERATORS = ['admin', 'local', 'node-key'];
const FORMS =
  'it is client-key:<base58>, identity:<base58>, root-key:ed25519:<base58>, root-key:0x<address>, ' +
  'jwt:client-key:<base58>, or jwt:admin';

/** A principal of the access file in its one spelling. Throws an Error that says what it may be. */
export function principalName(text: string): string {
  const [, kind = '', value = ''] = /^([^:]*):(.*)$/s.exec(text) ?? [];
  const name = kind === 'root-key' ? `root-key:${normalized(value)}` : text;
  if (!isOfKind(kind, value)) throw new Error(`Not a principal: ${text}; ${FORMS}`);
  return name;
}

/** Those that stand for no key and no identity of this node, now. */
export async function unknownPrincipals(
  database: Database,
  names: readonly string[],
): Promise<readonly string[]> {
  if (names.length === 0) return [];
  const [roots, clients] = await Promise.all([listRootKeys(database), listClientKeys(database)]);
  const known = new Set([
    ...OPERATORS.map((id) => `jwt:${id}`),
    ...roots.map(({ verifyingKey }) => `root-key:${verifyingKey}`),
    ...clients.map(({ signingKey }) => `client-key:${signingKey}`),
    ...clients.map(({ signingKey }) => `jwt:client-key:${signingKey}`),
  ]);
  const unknown: string[] = [];
  for (const name of names) {
    const identity = /^identity:(.*)$/.exec(name)?.[1];
    const isKnown =
      identity === undefined
        ? known.has(name)
        : await isMemberAnywhere(database, parsePublicKey(identity));
    if (!isKnown) unknown.push(name);
  }
  return unknown;
}

function isOfKind(kind: string, value: string): boolean {
  switch (kind) {
    case 'client-key':
      return decodeClientKey(value) !== null;
    case 'root-key':
      return isRootKey(value);
    case 'identity':
      return isIdentity(value);
    case 'jwt':
      return OPERATORS.includes(value) || isClientKey(value);
    default:
      return false;
  }
}

function isClientKey(name: string): boolean {
  return name.startsWith('client-key:') && isOfKind('client-key', name.slice(11));
}

function isIdentity(text: string): boolean {
  try {
    return decodeId(text).length === 32;
  } catch {
    return false;
  }
}
