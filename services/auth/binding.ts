import { AppError } from '#shared/domain/app-error.ts';
import { isSiwe, parseSiwe, type SiweMessage } from './wallets/siwe.ts';

/** What the text that a wallet signed must be about. */
export interface Bound {
  readonly verifyingKey: string;
  readonly nodeSignature: string;
  /** The client key. */
  readonly publicKey: string;
  /** Base64, of the challenge. */
  readonly nonce: string;
}

/**
 * What a wallet showed its owner must be about this challenge and this client key: JSON of both, or
 * EIP-4361. Throws AppError `invalid_request` that names what is wrong.
 */
export function demandBinding(
  text: string,
  bound: Bound,
  { nowMs, clockSkewMs }: { readonly nowMs: number; readonly clockSkewMs: number },
): void {
  const siwe = parseSiwe(text);
  if (siwe !== null) {
    demandSiwe(siwe, bound);
    const isTimely =
      (siwe.expirationTime === null || siwe.expirationTime.getTime() > nowMs) &&
      (siwe.notBefore === null || siwe.notBefore.getTime() <= nowMs) &&
      siwe.issuedAt.getTime() <= nowMs + clockSkewMs;
    if (!isTimely) throw refused('The signed message is not valid now.');
    return;
  }
  if (isSiwe(text)) {
    throw refused(
      'The signed message is not of EIP-4361: after the address and an empty line come a statement ' +
        'or none, an empty line, URI, Version: 1, Chain ID, Nonce, Issued At, and what is optional.',
    );
  }
  demandJson(text, bound);
}

function demandSiwe(siwe: SiweMessage, bound: Bound): void {
  if (siwe.address.toLowerCase() !== bound.verifyingKey.toLowerCase()) {
    throw refused('The signed message is about another address than verifyingKey.');
  }
  if (siwe.nonce !== Buffer.from(bound.nonce, 'base64').toString('hex')) {
    throw refused('The Nonce of the signed message is not the nonce of the challenge in hex.');
  }
  demandNamed(
    'the resource urn:cairn:challenge:<nodeSignature>',
    siwe.resources.includes(`urn:cairn:challenge:${bound.nodeSignature}`),
  );
  demandNamed(
    'the resource urn:cairn:client-key:<publicKey>',
    siwe.resources.includes(`urn:cairn:client-key:${bound.publicKey}`),
  );
}

function demandJson(text: string, { nodeSignature, publicKey }: Bound): void {
  let signed: { nodeSignature?: unknown; publicKey?: unknown } | null;
  try {
    signed = JSON.parse(text) as typeof signed;
  } catch {
    throw refused(
      'The signed message is neither JSON with nodeSignature and publicKey nor of EIP-4361.',
    );
  }
  demandNamed('this challenge as nodeSignature', signed?.nodeSignature === nodeSignature);
  demandNamed('this client key as publicKey', signed?.publicKey === publicKey);
}

function demandNamed(what: string, isNamed: boolean): void {
  if (!isNamed) throw refused(`The signed message does not name ${what}.`);
}

function refused(text: string): AppError {
  return new AppError('invalid_request', text);
}
