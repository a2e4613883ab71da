/**
 * Identifiers are 32 bytes. Inside Cairn they are carried as their base58 text, because every
 * wire, subject and hash input of the dialects uses that text; the store converts to bytes.
 * Only `parse…` and `derive…` functions make them.
 */
declare const brand: unique symbol;
type Branded<Name extends string> = string & { readonly [brand]: Name };

export type ContextId = Branded<'ContextId'>;
export type ApplicationId = Branded<'ApplicationId'>;
export type BlobId = Branded<'BlobId'>;
export type TransactionHash = Branded<'TransactionHash'>;
export type PublicKey = Branded<'PublicKey'>;

/** Base58 of 32 zero bytes: the prior hash of a context's first transaction. */
export const ZERO_ID = '1'.repeat(32);
