import { KeyPair, type KeyPairString, KeyPairSigner } from 'near-api-js';
import { ClientKey } from './client-key.ts';
import { addClientKey, NODE_URL, requestChallenge } from './node.ts';
import { useNode } from './use-node.ts';

/**
 * Login with a NEAR wallet, by NEP-413:
 *
 *   SETUP_TOKEN=… node_modules/.bin/node examples/login/near.ts
 *
 * A key is made up where the environment has no WALLET_KEY (`ed25519:…`, the private key).
 */
const walletKey = process.env['WALLET_KEY'];
const pair =
  walletKey === undefined
    ? KeyPair.fromRandom('ed25519')
    : KeyPair.fromString(walletKey as KeyPairString);
const verifyingKey = pair.getPublicKey().toString();
const accountId = process.env['ACCOUNT_ID'] ?? 'alice.testnet';
const clientKey = new ClientKey('NEAR');
const challenge = await requestChallenge();

const message = JSON.stringify({
  nodeSignature: challenge.nodeSignature,
  publicKey: clientKey.signingKey,
});
// Both are the application's choice; a wallet shows the one and returns to the other.
const recipient = 'my-application';
const callbackUrl = NODE_URL;

// In a browser: signMessage of the wallet.
const { signature } = await new KeyPairSigner(pair).signNep413Message(accountId, {
  message,
  nonce: new Uint8Array(Buffer.from(challenge.nonce, 'base64')),
  recipient,
  callbackUrl,
});

await addClientKey({
  walletSignature: Buffer.from(signature).toString('base64'),
  payload: {
    message: { ...challenge, message, publicKey: clientKey.signingKey },
    // The same as was signed.
    metadata: { recipient, callbackUrl, nonce: challenge.nonce },
  },
  walletMetadata: {
    wallet: { type: 'NEAR', networkId: 'testnet' },
    verifyingKey,
    walletAddress: accountId,
  },
});
console.log(`logged in as ${verifyingKey} with the client key ${clientKey.signingKey}`);

await useNode(clientKey);
