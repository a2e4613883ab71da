/** The fields of a Sign-In with Ethereum message (EIP-4361) that are checked. */
export interface SiweMessage {
  readonly address: string;
  readonly nonce: string;
  readonly issuedAt: Date;
  readonly expirationTime: Date | null;
  readonly notBefore: Date | null;
  readonly resources: readonly string[];
}

const FORM = new RegExp(
  [
    '^[^\\n]+ wants you to sign in with your Ethereum account:\\n',
    '(?<address>0x[0-9a-fA-F]{40})\\n\\n',
    '(?:[^\\n]+\\n)?\\n',
    'URI: [^\\n]+\\n',
    'Version: 1\\n',
    'Chain ID: \\d+\\n',
    'Nonce: (?<nonce>[0-9a-zA-Z]{8,})\\n',
    'Issued At: (?<issuedAt>[^\\n]+)',
    '(?:\\nExpiration Time: (?<expirationTime>[^\\n]+))?',
    '(?:\\nNot Before: (?<notBefore>[^\\n]+))?',
    '(?:\\nRequest ID: [^\\n]*)?',
    '(?:\\nResources:(?<resources>(?:\\n- [^\\n]+)*))?$',
  ].join(''),
);

/** True for what begins like a message of EIP-4361, right or wrong. */
export function isSiwe(text: string): boolean {
  return /^[^\n]+ wants you to sign in with your Ethereum account:\n/.test(text);
}

/** Reads a message of EIP-4361, or gives null when the text is none. */
export function parseSiwe(text: string): SiweMessage | null {
  const groups = FORM.exec(text)?.groups;
  if (groups === undefined) return null;
  const issuedAt = dateOf(groups['issuedAt']);
  const isUnreadable = (name: string) =>
    groups[name] !== undefined && dateOf(groups[name]) === null;
  if (issuedAt === null || isUnreadable('expirationTime') || isUnreadable('notBefore')) return null;
  return {
    address: groups['address'] ?? '',
    nonce: groups['nonce'] ?? '',
    issuedAt,
    expirationTime: dateOf(groups['expirationTime']),
    notBefore: dateOf(groups['notBefore']),
    resources: (groups['resources'] ?? '').split('\n- ').slice(1),
  };
}

function dateOf(text: string | undefined): Date | null {
  const date = new Date(text ?? '');
  return Number.isNaN(date.getTime()) ? null : date;
}
