import { sql } from 'kysely';
import type { ContextId } from '#shared/domain/ids.ts';
import type { Database } from './database.ts';

/** One context that a session listens to. */
export interface SseSubscription {
  readonly contextId: ContextId;
  /** Sequence of the last transaction that the client is known to have. */
  readonly since: bigint;
  /** The only kinds of application events that it wants; null is all. */
  readonly kinds: readonly string[] | null;
}

export interface SseSession {
  readonly sessionId: string;
  /** Only this principal may use it. */
  readonly principal: string;
  /** By slot: a small number that stands for the context in event ids, never used again. */
  readonly subscriptions: ReadonlyMap<number, SseSubscription>;
  readonly nextSlot: number;
  readonly createdAt: Date;
  readonly expiresAt: Date;
}

/** False when the principal has `sessionsMax` sessions already. */
export async function insertSseSession(
  database: Database,
  session: Pick<SseSession, 'sessionId' | 'principal' | 'expiresAt'>,
  sessionsMax: number,
): Promise<boolean> {
  const { sessionId, principal, expiresAt } = session;
  const { rows } = await sql`
    INSERT INTO sse_sessions (session_id, principal, expires_at)
    SELECT ${sessionId}, ${principal}, ${expiresAt}
    WHERE (SELECT count(*) FROM sse_sessions WHERE principal = ${principal}) < ${sessionsMax}
    RETURNING 1`.execute(database.kysely);
  return rows.length === 1;
}

/** Null when there is none, or not any more. */
export async function findSseSession(
  database: Database,
  sessionId: string,
): Promise<SseSession | null> {
  const row = await database.kysely
    .selectFrom('sse_sessions')
    .selectAll()
    .where('session_id', '=', sessionId)
    .where('expires_at', '>', sql<Date>`now()`)
    .executeTakeFirst();
  return row === undefined ? null : sessionOf(row);
}

type Change = Partial<Pick<SseSession, 'subscriptions' | 'nextSlot' | 'expiresAt'>>;

/** Changes a session, one change at a time; null when it is not there or of somebody else. */
export async function changeSseSession(
  database: Database,
  { sessionId, principal }: Pick<SseSession, 'sessionId' | 'principal'>,
  change: (session: SseSession) => Change,
): Promise<SseSession | null> {
  return await database.kysely.transaction().execute(async (transaction) => {
    const row = await transaction
      .selectFrom('sse_sessions')
      .selectAll()
      .where('session_id', '=', sessionId)
      .where('principal', '=', principal)
      .where('expires_at', '>', sql<Date>`now()`)
      .forUpdate()
      .executeTakeFirst();
    if (row === undefined) return null;
    const before = sessionOf(row);
    const after = { ...before, ...change(before) };
    await transaction
      .updateTable('sse_sessions')
      .set({
        next_slot: after.nextSlot,
        expires_at: after.expiresAt,
        subscriptions: JSON.stringify(
          Object.fromEntries(
            [...after.subscriptions].map(([slot, each]) => [
              slot,
              { ...each, since: each.since.toString() },
            ]),
          ),
        ),
      })
      .where('session_id', '=', sessionId)
      .execute();
    return after;
  });
}

export async function deleteExpiredSseSessions(database: Database): Promise<void> {
  await sql`DELETE FROM sse_sessions WHERE expires_at <= now()`.execute(database.kysely);
}

interface SessionRow {
  readonly session_id: string;
  readonly principal: string;
  readonly next_slot: number;
  readonly subscriptions: unknown;
  readonly created_at: Date;
  readonly expires_at: Date;
}

function sessionOf(row: SessionRow): SseSession {
  const stored = row.subscriptions as Record<string, SseSubscription & { since: unknown }>;
  return {
    sessionId: row.session_id,
    principal: row.principal,
    nextSlot: row.next_slot,
    subscriptions: new Map(
      Object.entries(stored).map(([slot, { contextId, since, kinds }]) => [
        Number(slot),
        { contextId, since: BigInt(String(since)), kinds },
      ]),
    ),
    createdAt: row.created_at,
    expiresAt: row.expires_at,
  };
}
