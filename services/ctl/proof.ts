import { readFile, writeFile } from 'node:fs/promises';
import { verifyProof } from '#shared/client/verify-proof.ts';
import { CommandError, NodeClient, type NodeOptions } from './node-client.ts';

/** Fetches the proof of a transaction and writes it to a file, or to standard output. */
export async function getProof(
  contextId: string,
  sequence: string,
  options: NodeOptions & { readonly output?: string },
): Promise<number> {
  const client = await NodeClient.open(options);
  const query = new URLSearchParams({ sequence });
  const path = `/admin-api/contexts/${encodeURIComponent(contextId)}/proof?${query.toString()}`;
  const proof = await client.request('GET', path);
  const text = `${JSON.stringify(proof)}\n`;
  if (options.output === undefined) process.stdout.write(text);
  else await writeFile(options.output, text);
  return 0;
}

/** Verifies a proof without any node. Gives 0 when it holds, 1 when it does not. */
export async function verifyProofFile(
  file: string,
  { nodeKey, context, json }: { nodeKey: string; context?: string; json: boolean },
): Promise<number> {
  const verdict = verifyProof(await readJson(file), {
    nodeKey,
    ...(context !== undefined && { contextId: context }),
  });
  if (!verdict.isValid) {
    const { reason } = verdict;
    const text = json ? JSON.stringify({ isValid: false, reason }) : `NOT a proof: ${reason}.`;
    process.stdout.write(`${text}\n`);
    return 1;
  }
  const { head, transaction } = verdict.proof;
  const at = new Date(head.timeMs).toISOString();
  const { sequence, kind, method, hash, principal, status } = transaction;
  const claim = {
    contextId: head.contextId,
    size: head.size.toString(),
    sequence: sequence.toString(),
    hash,
    seal: Buffer.from(verdict.seal).toString('hex'),
    at,
  };
  const lines = [
    `The proof holds: the node ${nodeKey} signed at ${at} that the log of ${head.contextId}`,
    `has ${head.size} transactions, and transaction ${sequence} is`,
    `  ${kind} ${method} by ${principal}, ${status}`,
    `  hash ${hash}`,
    `  seal ${claim.seal}`,
  ];
  process.stdout.write(
    json ? `${JSON.stringify({ isValid: true, ...claim })}\n` : `${lines.join('\n')}\n`,
  );
  return 0;
}

async function readJson(file: string): Promise<unknown> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`${file} cannot be read: ${error.code ?? error.message}`);
  });
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // What is no JSON is no proof either: the verifier says so.
    return null;
  }
}
