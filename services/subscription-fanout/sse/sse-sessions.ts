import { encodeBase58 } from '#shared/crypto/base58.ts';
import { AppError } from '#shared/domain/app-error.ts';
import type { ContextId } from '#shared/domain/ids.ts';
import type { SsePosition, SseRequest } from '#shared/protocol/sse.ts';
import type { SincePosition } from '#shared/protocol/websocket.ts';
import type { Database } from '#shared/store/database.ts';
import {
  changeSseSession,
  findSseSession,
  insertSseSession,
  type SseSession,
  type SseSubscription,
} from '#shared/store/sse-session-store.ts';
import type { Clock } from '#shared/util/clock.ts';
import type { Random } from '#shared/util/random.ts';
import type { OpenContextLog } from '../delivery/log-reader.ts';

export interface SseSessionsOptions {
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly openLog: OpenContextLog;
  readonly sessionMs: number;
  readonly sessionsMax: number;
  readonly subscriptionsMax: number;
  /** Called when another replica may have to know. */
  readonly onChange: (sessionId: string) => void;
}

/** A position that the log does not have. */
export class ResyncRequired extends Error {
  readonly contextId: ContextId;
  readonly sequence: bigint;

  constructor(contextId: ContextId, { sequence }: SincePosition) {
    super('resync required');
    this.contextId = contextId;
    this.sequence = sequence;
  }
}

/**
 * What clients of server-sent events listen to. It is in the database, so that a request may reach
 * another replica than the stream; where a client stands is in the ids that it was sent.
 */
export class SseSessions {
  readonly #options: SseSessionsOptions;

  constructor(options: SseSessionsOptions) {
    this.#options = options;
  }

  /** Throws AppError `overloaded` when the principal has too many. */
  async create(principal: string): Promise<SseSession> {
    const { clock, database, random, sessionMs, sessionsMax } = this.#options;
    const sessionId = encodeBase58(random(16));
    const createdAt = new Date(clock.nowMs());
    const expiresAt = new Date(clock.nowMs() + sessionMs);
    if (!(await insertSseSession(database, { sessionId, principal, expiresAt }, sessionsMax))) {
      throw new AppError('overloaded', `too many sessions: at most ${sessionsMax} at once`);
    }
    return { sessionId, principal, expiresAt, createdAt, subscriptions: new Map(), nextSlot: 0 };
  }

  /** Throws AppError `not_found` where there is none, or one of somebody else. */
  async find(sessionId: string, principal: string): Promise<SseSession> {
    const session = await findSseSession(this.#options.database, sessionId);
    if (session === null || session.principal !== principal) throw unknown();
    return session;
  }

  /**
   * A stream goes on with a session, from where its client says that it stands, or from now on when
   * it does not say. Null when there is no such session.
   */
  async resume(
    sessionId: string,
    principal: string,
    position: SsePosition | null,
  ): Promise<SseSession | null> {
    const { clock, database, sessionMs } = this.#options;
    const known = position ?? (await this.#headsOf(sessionId, principal));
    return await changeSseSession(database, { sessionId, principal }, (session) => ({
      expiresAt: new Date(clock.nowMs() + sessionMs),
      subscriptions: new Map(
        [...session.subscriptions].map(([slot, each]) => [
          slot,
          { ...each, since: later(each.since, known.get(slot) ?? 0n) },
        ]),
      ),
    }));
  }

  /** Throws AppError, or ResyncRequired. Whatever is committed after this is delivered. */
  async subscribe(
    request: Extract<SseRequest, { kind: 'subscribe' }>,
    principal: string,
  ): Promise<void> {
    const { subscriptionsMax } = this.#options;
    const session = await this.find(request.sessionId, principal);
    const known = new Set([...session.subscriptions.values()].map(({ contextId }) => contextId));
    const fresh = [...new Set(request.contextIds)].filter((contextId) => !known.has(contextId));
    if (known.size + fresh.length > subscriptionsMax) throw tooMany(subscriptionsMax);
    const added = await Promise.all(fresh.map((contextId) => this.#begin(contextId, request)));
    await this.#change(request.sessionId, principal, (session) => {
      const subscriptions = new Map(session.subscriptions);
      const taken = new Set([...subscriptions.values()].map(({ contextId }) => contextId));
      let { nextSlot } = session;
      for (const each of added) if (!taken.has(each.contextId)) subscriptions.set(nextSlot++, each);
      if (subscriptions.size > subscriptionsMax) throw tooMany(subscriptionsMax);
      return { subscriptions, nextSlot };
    });
  }

  /** Gives those that were subscribed. */
  async unsubscribe({ sessionId, contextIds }: SseRequest, principal: string) {
    const removed = new Set<ContextId>();
    await this.#change(sessionId, principal, ({ subscriptions }) => ({
      subscriptions: new Map(
        [...subscriptions].filter(([, { contextId }]) => {
          if (contextIds.includes(contextId)) removed.add(contextId);
          return !contextIds.includes(contextId);
        }),
      ),
    }));
    return [...removed];
  }

  async #change(
    sessionId: string,
    principal: string,
    change: Parameters<typeof changeSseSession>[2],
  ): Promise<void> {
    const { database, onChange } = this.#options;
    const changed = await changeSseSession(database, { sessionId, principal }, change);
    if (changed === null) throw unknown();
    onChange(sessionId);
  }

  async #begin(
    contextId: ContextId,
    { since, kinds }: Extract<SseRequest, { kind: 'subscribe' }>,
  ): Promise<SseSubscription> {
    const log = this.#options.openLog(contextId);
    const head = await log.head();
    const position = since.get(contextId);
    if (position === undefined) return { contextId, since: head, kinds };
    const { sequence, hash } = position;
    if (sequence > head) throw new ResyncRequired(contextId, position);
    if (hash !== null && sequence > 0n) {
      const [notice] = await log.read(sequence, 1);
      if (notice?.hash !== hash) throw new ResyncRequired(contextId, position);
    }
    return { contextId, since: sequence, kinds };
  }

  async #headsOf(sessionId: string, principal: string): Promise<Map<number, bigint>> {
    const session = await findSseSession(this.#options.database, sessionId);
    if (session?.principal !== principal) return new Map();
    const heads = [...session.subscriptions].map(
      async ([slot, { contextId }]) =>
        [slot, await this.#options.openLog(contextId).head()] as const,
    );
    return new Map(await Promise.all(heads));
  }
}

function later(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}

function unknown(): AppError {
  return new AppError('not_found', 'Session not found');
}

function tooMany(max: number): AppError {
  return new AppError('invalid_request', `too many subscriptions: at most ${max} per session`);
}
