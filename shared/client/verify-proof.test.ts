import { describe, expect, test } from 'vitest';
import { keyPairOf, signEd25519 } from '#shared/crypto/ed25519.ts';
import { sha256 } from '#shared/crypto/sha256.ts';
import { type TransactionHash, ZERO_ID } from '#shared/domain/ids.ts';
import type { Transaction } from '#shared/domain/transaction.ts';
import { transactionHash } from '#shared/protocol/hash-chain.ts';
import { contextIdFromBytes, publicKeyFromBytes } from '#shared/protocol/ids.ts';
import {
  consistencyJson,
  headBytes,
  headJson,
  type LogHead,
  proofJson,
  type SignedLogHead,
} from '#shared/protocol/log-proof.ts';
import { consistencyPath, inclusionPath, leafHash, rootOf } from '#shared/protocol/merkle.ts';
import { sealTransaction } from '#shared/protocol/seal.ts';
import { verifyConsistency, verifyProof } from './verify-proof.ts';

const SIZE = 37;
const seed = new Uint8Array(32).fill(9);
const nodeKey = publicKeyFromBytes(keyPairOf(seed).publicKey);
const log = logOf(SIZE, 1);
const seals = log.map(({ seal }) => leafHash(sha256, seal));

/** What the node would give for a sequence of a log. */
function proofOf(sequence: number, of = log): ReturnType<typeof proofJson> {
  const leaves = of.map(({ seal }) => leafHash(sha256, seal));
  const transaction = of[sequence - 1];
  if (transaction === undefined) throw new Error('the log has the sequence');
  return proofJson({
    transaction,
    priorSeal: of[sequence - 2]?.seal ?? new Uint8Array(32),
    path: inclusionPath(
      (start, size) => rootOf(sha256, leaves.slice(Number(start), Number(start + size))),
      BigInt(sequence - 1),
      BigInt(of.length),
    ),
    head: headOf(of.length, of),
  });
}

const known = { nodeKey };
const isValid = (proof: unknown) => verifyProof(proof, known).isValid;

test('every transaction of a log is proved, also from text', () => {
  for (const { sequence } of log) {
    const proof: unknown = JSON.parse(JSON.stringify(proofOf(Number(sequence))));

    const verdict = verifyProof(proof, { nodeKey, contextId: log[0]?.contextId ?? '' });

    expect(verdict.isValid && verdict.proof.transaction.sequence).toBe(sequence);
    expect(verdict.isValid && Buffer.from(verdict.seal)).toEqual(
      Buffer.from(log[Number(sequence) - 1]?.seal ?? ''),
    );
  }
});

describe('a proof does not hold', () => {
  test('when any bit of its file is another', () => {
    const bytes = Buffer.from(JSON.stringify(proofOf(12)));
    const wrong: string[] = [];
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const bent = Buffer.from(bytes);
      bent[bit >> 3] = (bent[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      if (isValid(parsed(bent)) && !isTheSame(bent, bytes)) wrong.push(`bit ${bit}`);
    }
    expect(wrong).toEqual([]);
  }, 60_000);

  test('when a bit of any of its values is another', () => {
    const proof = proofOf(12);
    for (const path of leavesOf(proof)) {
      expect(isValid(bentAt(proof, path)), path.join('.')).toBe(false);
    }
  });

  test('with the head, path, or place of another transaction or log', () => {
    const other = logOf(SIZE, 2);
    const [mine, next, theirs] = [proofOf(12), proofOf(13), proofOf(12, other)];
    const shorter = proofOf(12, log.slice(0, 20));

    expect([mine, next, theirs, shorter].map(isValid)).toEqual([true, true, true, true]);
    expect(isValid({ ...mine, path: next.path })).toBe(false);
    expect(isValid({ ...mine, path: mine.path.toReversed() })).toBe(false);
    expect(isValid({ ...mine, path: mine.path.slice(1) })).toBe(false);
    expect(isValid({ ...mine, path: mine.path.slice(0, -1) })).toBe(false);
    expect(isValid({ ...mine, path: [...mine.path, mine.path[0]] })).toBe(false);
    expect(isValid({ ...mine, path: theirs.path })).toBe(false);
    expect(isValid({ ...mine, head: theirs.head })).toBe(false);
    expect(isValid({ ...mine, head: shorter.head })).toBe(false);
    expect(isValid({ ...mine, transaction: next.transaction })).toBe(false);
    expect(isValid({ ...mine, transaction: theirs.transaction })).toBe(false);
    expect(isValid({ ...mine, priorSeal: next.priorSeal })).toBe(false);
    const moved = { ...mine.transaction, sequence: '13' };
    expect(isValid({ ...mine, transaction: moved })).toBe(false);
    const grown = { ...mine.head, size: '38' };
    expect(isValid({ ...mine, head: grown })).toBe(false);
  });

  test('when another key signed it, whatever it says of it', () => {
    const proof = proofOf(12);
    const mallory = new Uint8Array(32).fill(6);
    const malloryKey = publicKeyFromBytes(keyPairOf(mallory).publicKey);
    const forged = {
      ...proof,
      head: headJson({
        ...headOf(SIZE),
        nodeKey: malloryKey,
        signature: signEd25519(mallory, headBytes(headOf(SIZE))),
      }),
    };

    expect(verifyProof(forged, known)).toEqual({
      isValid: false,
      reason: `the head is signed by another key, ${malloryKey}`,
    });
    expect(isValid({ ...forged, head: { ...forged.head, nodeKey } })).toBe(false);
    expect(verifyProof(forged, { nodeKey: malloryKey }).isValid).toBe(true);
  });

  test('for another context than the one that is asked about', () => {
    const contextId = logOf(1, 2)[0]?.contextId ?? '';

    expect(verifyProof(proofOf(1), { nodeKey, contextId })).toEqual({
      isValid: false,
      reason: 'the head is of another context',
    });
  });

  test('when it is anything else', () => {
    for (const thing of [null, 1, 'x', [], {}, { format: 'cairn-proof' }, [proofOf(1)]]) {
      expect(isValid(thing)).toBe(false);
    }
    const proof = proofOf(1);
    expect(isValid({ ...proof, version: 2 })).toBe(false);
    expect(isValid({ ...proof, more: 1 })).toBe(false);
    expect(isValid({ ...proof, head: { ...proof.head, signature: '' } })).toBe(false);
    expect(isValid({ ...proof, priorSeal: proof.priorSeal.toUpperCase() })).toBe(true);
    const shouting = proofOf(2);
    expect(isValid({ ...shouting, priorSeal: shouting.priorSeal.toUpperCase() })).toBe(false);
  });
});

test('a later head is shown to go on from an earlier one, and from no other', () => {
  const rootAt = (start: bigint, size: bigint) =>
    rootOf(sha256, seals.slice(Number(start), Number(start + size)));
  for (const from of [1, 2, 3, 8, 16, 31, 36, 37]) {
    const earlier = headJson(headOf(from));
    const path = consistencyPath(rootAt, BigInt(from), BigInt(SIZE));
    const proof = consistencyJson({ from: BigInt(from), path, head: headOf(SIZE) });

    expect(verifyConsistency(earlier, proof, known).isValid).toBe(true);
    const others = headJson(headOf(from, logOf(from, 2)));
    expect(verifyConsistency(others, proof, known).isValid).toBe(false);
    const rewritten = headJson(headOf(from, logOf(from, 1, 'rewritten')));
    expect(verifyConsistency(rewritten, proof, known)).toEqual({
      isValid: false,
      reason: 'the later log does not begin with the earlier one',
    });
    expect(verifyConsistency(earlier, { ...proof, from: '5' }, known).isValid).toBe(false);
  }
});

function headOf(size: number, of = log): SignedLogHead {
  const leaves = of.slice(0, size).map(({ seal }) => leafHash(sha256, seal));
  const last = of[size - 1];
  if (last === undefined) throw new Error('the log is that long');
  const head: LogHead = {
    contextId: last.contextId,
    size: BigInt(size),
    root: rootOf(sha256, leaves),
    lastSeal: last.seal,
    timeMs: 1_700_000_000_123,
  };
  return { ...head, nodeKey, signature: signEd25519(seed, headBytes(head)) };
}

function logOf(size: number, context: number, method = 'set'): Transaction[] {
  const contextId = contextIdFromBytes(new Uint8Array(32).fill(context));
  const all: Transaction[] = [];
  for (let sequence = 1; sequence <= size; sequence += 1) {
    const prior = all.at(-1);
    const unhashed = {
      contextId,
      sequence: BigInt(sequence),
      priorHash: prior?.hash ?? (ZERO_ID as TransactionHash),
      kind: 'mutate' as const,
      method,
      payload: Buffer.from(`{"n":${sequence}}`),
      executorPublicKey: publicKeyFromBytes(new Uint8Array(32).fill(2)),
      principal: 'ädä "x" \u0001',
      requestId: sequence % 2 === 0 ? `r${sequence}` : null,
      timeNs: 1_700_000_000_000_000_001n,
      randomSeed: new Uint8Array(32).fill(sequence),
      executionVersion: sequence % 3 === 0 ? 0 : 1,
      fuelLimit: 1_000n,
      status: 'ok' as const,
      output: Buffer.from(`${sequence}`),
      error: null,
      events: [{ kind: 'Set', data: Buffer.from('data') }],
      changes: [
        { key: new Uint8Array(32).fill(1), value: Buffer.from(`${sequence}`) },
        { key: new Uint8Array(32).fill(3), value: null },
      ],
      rootHash: new Uint8Array(32).fill(4),
      artifact: Buffer.from('a'),
      fuelUsed: 12n,
    };
    const unsealed = { ...unhashed, hash: transactionHash(unhashed) };
    const seal = sealTransaction(unsealed, prior?.seal ?? new Uint8Array(32));
    all.push({ ...unsealed, seal });
  }
  return all;
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch {
    return null;
  }
}

/** Some bits of JSON mean nothing, as the case of the digits in an escape. */
function isTheSame(a: Uint8Array, b: Uint8Array): boolean {
  return JSON.stringify(parsed(a)) === JSON.stringify(parsed(b));
}

/** The places of all texts, numbers and nulls in a value. */
function leavesOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return Object.entries(value).flatMap(([key, item]) => leavesOf(item, [...path, key]));
}

/** A copy with the least possible change at a place. */
function bentAt(value: unknown, path: readonly string[]): unknown {
  const copy = structuredClone(value) as Record<string, unknown>;
  let at = copy;
  for (const key of path.slice(0, -1)) at = at[key] as Record<string, unknown>;
  const last = path.at(-1) ?? '';
  const old = at[last];
  if (typeof old === 'number') at[last] = old ^ 1;
  else if (typeof old === 'string' && old !== '') {
    const code = old.charCodeAt(old.length - 1) ^ 1;
    at[last] = `${old.slice(0, -1)}${String.fromCharCode(code)}`;
  } else at[last] = '00';
  return copy;
}
