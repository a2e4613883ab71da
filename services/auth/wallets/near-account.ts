const RPC_MS = 5_000;

/** Asks NEAR whether a key is a live full access key of an account; false when it does not say so. */
export async function ownsNearKey(
  rpcUrl: string,
  accountId: string,
  publicKey: string,
): Promise<boolean> {
  const params = {
    request_type: 'view_access_key',
    finality: 'final',
    account_id: accountId,
    public_key: publicKey,
  };
  try {
    const response = await fetch(rpcUrl, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'query', params }),
      signal: AbortSignal.timeout(RPC_MS),
    });
    const answer = (await response.json()) as { result?: { permission?: unknown } };
    return answer.result?.permission === 'FullAccess';
  } catch {
    return false;
  }
}
