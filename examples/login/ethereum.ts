import { Wallet } from 'ethers';
import { ClientKey } from './client-key.ts';
import { addClientKey, NODE_URL, requestChallenge } from './node.ts';
import { useNode } from './use-node.ts';

/**
 * Login with an Ethereum wallet, by EIP-4361 ("Sign-In with Ethereum"):
 *
 *   SETUP_TOKEN=… node_modules/.bin/node examples/login/ethereum.ts
 *
 * A wallet is made up where the environment has no WALLET_KEY (hex of its private key).
 */
const walletKey = process.env['WALLET_KEY'];
const wallet = walletKey === undefined ? Wallet.createRandom() : new Wallet(walletKey);
const clientKey = new ClientKey('ETH');
const challenge = await requestChallenge();

// Short is possible, too: JSON.stringify({ nodeSignature: …, publicKey: … }), which wallets show raw.
const message = [
  `${new URL(NODE_URL).host} wants you to sign in with your Ethereum account:`,
  wallet.address,
  '',
  'Let this application act for you on the node.',
  '',
  `URI: ${NODE_URL}`,
  'Version: 1',
  'Chain ID: 1',
  `Nonce: ${Buffer.from(challenge.nonce, 'base64').toString('hex')}`,
  `Issued At: ${new Date(challenge.timestamp * 1_000).toISOString()}`,
  'Resources:',
  `- urn:cairn:challenge:${challenge.nodeSignature}`,
  `- urn:cairn:client-key:${clientKey.signingKey}`,
].join('\n');

await addClientKey({
  // EIP-191, hex of r, s and v. In a browser: personal_sign.
  walletSignature: await wallet.signMessage(message),
  payload: {
    message: { ...challenge, message, publicKey: clientKey.signingKey },
    metadata: {},
  },
  walletMetadata: { wallet: { type: 'ETH', chainId: 1 }, verifyingKey: wallet.address },
});
console.log(`logged in as ${wallet.address} with the client key ${clientKey.signingKey}`);

await useNode(clientKey);
