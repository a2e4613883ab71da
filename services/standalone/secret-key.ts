import { join } from 'node:path';
import { type Database, openDatabase, type TlsOptions } from '#shared/store/database.ts';
import { canOpenSecrets, holdsSecrets, resealSecrets } from '#shared/store/secret-store.ts';
import { systemRandom } from '#shared/util/random.ts';
import type { DataDirectory } from './data-directory.ts';

const NAME = 'secret-key';
const NEXT = 'secret-key.next';
const KEY_BYTES = 32;

interface Place {
  readonly url: string;
  readonly tls: TlsOptions | null;
}

/**
 * The key that private keys are sealed with. Throws, and makes no new one, when the database holds
 * secrets that it does not open. With `rotate` they are sealed again with a new one:
 * it is written first and takes its place after the commit, so that a crash in between, which the
 * next start finds, loses neither.
 */
export async function settleSecretKey(
  directory: DataDirectory,
  place: Place,
  rotate: boolean,
): Promise<Uint8Array> {
  await using database = open(place);
  const read = async (name: string) => Buffer.from(await directory.secret(name, KEY_BYTES), 'hex');
  const file = join(directory.path, 'secrets', NAME);
  if (!(await directory.hasSecret(NAME)) && (await holdsSecrets(database))) {
    throw new Error(
      `${file} is missing, and the database holds private keys sealed with it: put it back from a ` +
        'backup; without it they are lost, and only an empty database can be used',
    );
  }
  if (await directory.hasSecret(NEXT)) {
    const isCommitted = !(await canOpenSecrets(database, await read(NAME)));
    if (isCommitted) await directory.replaceSecret(NAME, NEXT);
    else await directory.forgetSecret(NEXT);
  }
  const current = await read(NAME);
  await demandOpens(database, current, file);
  if (!rotate) return current;
  const next = await read(NEXT);
  const count = await resealSecrets(database, { from: current, to: next, random: systemRandom });
  await directory.replaceSecret(NAME, NEXT);
  process.stdout.write(
    `The secret key was rotated: ${count} private keys are sealed with the new one in ${file}; ` +
      'JWTs that the operator made are not valid any more.\n',
  );
  return next;
}

/** A key that the configuration gives. Throws when it does not open what the database holds. */
export async function demandSecretKey(key: Uint8Array, place: Place): Promise<void> {
  await using database = open(place);
  await demandOpens(database, key, 'node.secretKey');
}

async function demandOpens(database: Database, key: Uint8Array, name: string): Promise<void> {
  if (await canOpenSecrets(database, key)) return;
  throw new Error(
    `${name} is not the key that the private keys in the database are sealed with: ` +
      'give the one that this database was used with',
  );
}

function open(place: Place): Database {
  return openDatabase({ ...place, poolMax: 1, onError: () => undefined });
}
