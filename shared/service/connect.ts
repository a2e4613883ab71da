import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { Bus } from '#shared/bus/bus.ts';
import { inboxPrefixOf } from '#shared/bus/subjects.ts';
import { connectNats } from '#shared/bus/nats-bus.ts';
import type { natsSection, postgresSection } from '#shared/config/sections.ts';
import { type Database, openDatabase, type TlsOptions } from '#shared/store/database.ts';
import { compareSchema } from '#shared/store/migrate.ts';
import { backoff } from '#shared/util/backoff.ts';

type PostgresConfig = z.output<typeof postgresSection>;
type NatsConfig = z.output<typeof natsSection>;
type TlsConfig = Pick<NatsConfig, 'tls' | 'caFile' | 'certFile' | 'keyFile'>;

/** Every so many attempts the log says that something is still waited for. */
const REMIND_EVERY = 30;

export function openConfiguredDatabase(config: PostgresConfig, log: Logger): Database {
  return openDatabase({
    url: withPassword(config.url, config.password),
    poolMax: config.poolMax,
    tls: tlsOf(config),
    onError: (error) => log.warn({ err: error }, 'lost a Postgres connection'),
  });
}

/** A URL with the password in it, which takes the place of one that is there. */
export function withPassword(url: string, password: string | null): string {
  if (password === null) return url;
  const changed = new URL(url);
  changed.password = encodeURIComponent(password);
  return changed.href;
}

/** Null when none is demanded. Throws when a file cannot be read. */
export function tlsOf(config: TlsConfig): TlsOptions | null {
  const { tls, caFile, certFile, keyFile } = config;
  if (!tls && caFile === null && certFile === null) return null;
  return {
    ...(caFile === null ? {} : { ca: readFileSync(caFile, 'utf8') }),
    ...(certFile === null ? {} : { cert: readFileSync(certFile, 'utf8') }),
    ...(keyFile === null ? {} : { key: readFileSync(keyFile, 'utf8') }),
  };
}

export interface Waiting {
  readonly name: string;
  readonly log: Logger;
  readonly stop: AbortSignal;
}

/** Connects as soon as a server is there. Rejects when it is told to stop. */
export function connectConfiguredNats(config: NatsConfig, waiting: Waiting): Promise<Bus> {
  const { user, password, url } = config;
  const tls = tlsOf(config);
  return retryUntilStopped(waiting, 'NATS cannot be reached yet', () =>
    connectNats(url, `cairn-${waiting.name}`, {
      user,
      password,
      tls,
      inboxPrefix: inboxPrefixOf(waiting.name),
      onError: (reason) => waiting.log.error({ reason }, 'NATS refused something'),
    }),
  );
}

/**
 * Resolves once the schema is the one that this code was written for. Rejects when it is a newer
 * one, or when it is told to stop.
 */
export async function waitForSchema(database: Database, waiting: Waiting): Promise<void> {
  await retryUntilStopped(waiting, 'the schema is not there yet', async () => {
    const { missing, newer } = await compareSchema(database);
    if (newer.length > 0) {
      throw new HopelessError(
        `the database was migrated by a newer Cairn (${newer.join(', ')}): run that one`,
      );
    }
    if (missing.length === 0) return;
    throw new Error(`run "cairn migrate", which has not done ${missing.join(', ')} yet`);
  });
}

/** An error that no waiting cures. */
class HopelessError extends Error {
  override readonly name = 'HopelessError';
}

async function retryUntilStopped<T>(
  { log, stop }: Waiting,
  phrase: string,
  attempt: () => Promise<T>,
): Promise<T> {
  for (let count = 0; ; count += 1) {
    stop.throwIfAborted();
    try {
      return await attempt();
    } catch (error) {
      if (error instanceof HopelessError) throw error;
      const reason = error instanceof Error ? error.message : String(error);
      if (count % REMIND_EVERY === 0) log.warn({ reason }, phrase);
      await backoff(count, stop);
    }
  }
}
