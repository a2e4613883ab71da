import { openDatabase, type TlsOptions } from '#shared/store/database.ts';
import { canOpenSecrets, resealSecrets } from '#shared/store/secret-store.ts';
import { systemRandom } from '#shared/util/random.ts';
import type { DataDirectory } from './data-directory.ts';

const NAME = 'secret-key';
const NEXT = 'secret-key.next';
const KEY_BYTES = 32;

/**
 * The key that private keys are sealed with. With `rotate` they are sealed again with a new one:
 * it is written first and takes its place after the commit, so that a crash in between, which the
 * next start finds, loses neither.
 */
export async function settleSecretKey(
  directory: DataDirectory,
  { url, tls }: { readonly url: string; readonly tls: TlsOptions | null },
  rotate: boolean,
): Promise<Uint8Array> {
  await using database = openDatabase({
    url,
    tls,
    poolMax: 1,
    onError: () => undefined,
  });
  const read = async (name: string) => Buffer.from(await directory.secret(name, KEY_BYTES), 'hex');
  if (await directory.hasSecret(NEXT)) {
    const isCommitted = !(await canOpenSecrets(database, await read(NAME)));
    if (isCommitted) await directory.replaceSecret(NAME, NEXT);
    else await directory.forgetSecret(NEXT);
  }
  const current = await read(NAME);
  if (!rotate) return current;
  const next = await read(NEXT);
  await resealSecrets(database, { from: current, to: next, random: systemRandom });
  await directory.replaceSecret(NAME, NEXT);
  return next;
}
