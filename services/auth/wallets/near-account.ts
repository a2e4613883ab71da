import { AppError } from '#shared/domain/app-error.ts';

/** A key of a wallet, and the account that it is said to belong to. */
export interface NearLogin {
  /** `ed25519:<base58>`. */
  readonly verifyingKey: string;
  /** JSON text with `networkId`. */
  readonly wallet: string;
  /** Account id, or empty. */
  readonly walletAddress: string;
}

const RPC_MS = 5_000;
/** What NEAR answers when it knows for certain that the key is not there. */
const UNKNOWN = new Set([
  'UNKNOWN_ACCESS_KEY',
  'UNKNOWN_ACCOUNT',
  'INVALID_ACCOUNT',
  'PARSE_ERROR',
]);

/**
 * Asks the RPC of its network whether a key is a live full-access key of its account. Does nothing
 * without RPCs; with any, a network that has none is refused, so that naming another network evades
 * nothing. Throws AppError `invalid_request`, or `unavailable` when NEAR does not say.
 */
export async function demandNearAccount(
  { verifyingKey, wallet, walletAddress }: NearLogin,
  rpcUrls: Readonly<Record<string, string>>,
  warn: (details: object, text: string) => void,
): Promise<void> {
  const networks = Object.keys(rpcUrls);
  if (networks.length === 0) return;
  // The oldest clients name no network.
  const networkId = networkOf(wallet) ?? (networks.length === 1 ? networks[0] : undefined);
  const isKnown = networkId !== undefined && Object.hasOwn(rpcUrls, networkId);
  const rpcUrl = isKnown ? rpcUrls[networkId] : undefined;
  if (rpcUrl === undefined) throw refused('Unknown NEAR network ID');
  if (walletAddress === '') throw refused('Wallet address not present');
  let isOwned: boolean;
  try {
    isOwned = await ownsNearKey(rpcUrl, walletAddress, verifyingKey);
  } catch (error) {
    warn({ err: error, networkId, walletAddress }, 'the NEAR RPC does not tell whose a key is');
    throw new AppError(
      'unavailable',
      `The NEAR RPC of ${networkId} did not tell whether the key belongs to "${walletAddress}". Please try again later.`,
    );
  }
  if (!isOwned) {
    throw refused(
      `Provided public key does not belong to account "${walletAddress}": it is no full-access key of it.`,
    );
  }
}

/** Throws when the RPC does not say so or so. */
async function ownsNearKey(rpcUrl: string, accountId: string, publicKey: string): Promise<boolean> {
  const params = {
    request_type: 'view_access_key',
    finality: 'final',
    account_id: accountId,
    public_key: publicKey,
  };
  const response = await fetch(rpcUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'query', params }),
    signal: AbortSignal.timeout(RPC_MS),
  });
  const { result, error } = (await response.json()) as {
    result?: { permission?: unknown; error?: unknown };
    error?: { cause?: { name?: unknown } };
  };
  if (result?.permission !== undefined) return result.permission === 'FullAccess';
  // Older nodes answer a missing key with a result that has the error's text.
  if (typeof result?.error === 'string') return false;
  const cause = error?.cause?.name;
  if (typeof cause === 'string' && UNKNOWN.has(cause)) return false;
  throw new Error(`HTTP ${response.status}, ${JSON.stringify(error ?? result).slice(0, 500)}`);
}

function networkOf(wallet: string): string | undefined {
  const { networkId } = JSON.parse(wallet) as { networkId?: unknown };
  return typeof networkId === 'string' ? networkId : undefined;
}

function refused(text: string): AppError {
  return new AppError('invalid_request', text);
}
