import { chmod, chown, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { ConfigError, loadConfig } from '#shared/config/load-config.ts';
import { processSections } from '#shared/config/sections.ts';
import { openConfiguredDatabase } from '#shared/service/connect.ts';
import { createLogger } from '#shared/telemetry/logger.ts';
import { startEmbeddedPostgres } from '../../services/standalone/embedded-postgres.ts';
import { makeCertificates } from '../support/certificates.ts';

test('Postgres is spoken to over TLS, with a certificate that is verified, where that is asked for', async () => {
  await using stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'cairn-tls-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  await chmod(folder, 0o755);
  const { caFile, certFile, keyFile } = await makeCertificates(folder);
  const log = createLogger({ name: 'test', level: 'fatal' });
  const plain = await startEmbeddedPostgres({ directory: folder, password: 'x', log });
  await plain[Symbol.asyncDispose]();
  const { uid, gid } = await stat(join(folder, 'postgres'));
  await chown(keyFile, uid, gid);
  const { ownerUrl } = stack.use(
    await startEmbeddedPostgres({
      directory: folder,
      password: 'x',
      log,
      settings: ['ssl=on', `ssl_cert_file=${certFile}`, `ssl_key_file=${keyFile}`],
    }),
  );
  const open = (...flags: readonly string[]) => {
    const { values } = loadConfig(processSections, {
      file: null,
      environment: { CAIRN_POSTGRES__URL: ownerUrl },
      flags,
    });
    return stack.use(openConfiguredDatabase(values.postgres, log));
  };
  const isSecure = async (...flags: readonly string[]) => {
    const { rows } = await sql<{ ssl: boolean }>`
      SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()`.execute(open(...flags).kysely);
    return rows[0]?.ssl;
  };

  expect(await isSecure()).toBe(false);
  expect(await isSecure(`postgres.caFile=${caFile}`)).toBe(true);
  await expect(isSecure('postgres.tls=true')).rejects.toThrow(/unable to (verify|get)/);
  expect(() => open('postgres.tls=perhaps')).toThrow(ConfigError);
});
