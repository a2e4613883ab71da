import type { IncomingMessage, ServerResponse } from 'node:http';
import type { BusSubscription } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import {
  createAuthenticate,
  type Credentials,
  recheck,
  verify,
} from '#shared/service/authenticate.ts';
import { OwnerRoutes, retryUntil } from '#shared/service/request-execution.ts';
import type { Service, ServiceDeps } from '#shared/service/service.ts';
import { AppError } from '#shared/domain/app-error.ts';
import { deleteExpiredSseSessions } from '#shared/store/sse-session-store.ts';
import type { FanoutConfig } from './config.ts';
import { ContextFeed } from './delivery/context-feed.ts';
import { Gate } from '#shared/util/gate.ts';
import { createLogReader } from './delivery/log-reader.ts';
import { createFanoutMetrics } from './metrics.ts';
import { SseDoor } from './sse/sse-door.ts';
import { sseFormat } from './sse/sse-format.ts';
import { SseSessions } from './sse/sse-sessions.ts';
import { FeedRegistry } from './subscriptions/feed-registry.ts';
import { Calls } from './ws/calls.ts';
import { Connections } from './ws/connections.ts';
import { refuseUpgrade } from './ws/handshake.ts';
import { webSocketFormat } from './ws/web-socket-format.ts';

const LOG_READS_MAX = 8;
/** How often sessions that are over are deleted. */
const FORGET_MS = 600_000;

/** Subscriptions over WebSockets and server-sent events: delivers the log of each context, in order, to who listens. */
export function createFanoutService(deps: ServiceDeps, config: FanoutConfig): Service {
  const { bus, clock, database, log } = deps;
  const routes = new OwnerRoutes();
  const metrics = createFanoutMetrics(deps.metrics);
  const openLog = createLogReader(database, new Gate(LOG_READS_MAX), () => metrics.reads.inc());
  const onError = (error: unknown) => log.warn({ err: error }, 'fanout error');
  let isReady = false;
  let changes: BusSubscription | undefined;

  const registry = new FeedRegistry({
    ...config,
    bus,
    clock,
    onError,
    open: (contextId, onMove) =>
      new ContextFeed({
        contextId,
        log: openLog(contextId),
        onMove,
        ringMax: config.ringMax,
        ringBytesMax: config.ringBytesMax,
        onHeal: () => metrics.heals.inc(),
        onError: (error) => log.warn({ err: error, contextId }, 'the log cannot be read'),
      }),
  });
  const common = {
    config,
    random: deps.random,
    authenticate: createAuthenticate(deps),
    proxies: deps.proxies,
    recheck: (credentials: Credentials) => recheck(bus, clock, credentials),
  };
  const delivery = {
    registry,
    onDelivered: (frames: number) => metrics.delivered.inc(frames),
    onCount: (change: number) => metrics.subscriptions.inc(change),
    onError,
  };
  const connections = new Connections({
    ...common,
    clock,
    connection: {
      ...delivery,
      formatOf: (kinds) => webSocketFormat(config.dialect, kinds),
      verify: (credentials) => verify(bus, clock, credentials),
      calls: new Calls({
        callsMax: config.callsMax,
        log,
        execute: (request) => {
          const deadlineMs = clock.nowMs() + config.callMs;
          return retryUntil(clock, deadlineMs, () => routes.ask(bus, request, deadlineMs));
        },
      }),
    },
    onConnections: (open) => metrics.connections.set(open),
  });

  const sse = new SseDoor({
    ...common,
    bus,
    sessions: new SseSessions({
      database,
      clock,
      random: deps.random,
      openLog,
      sessionMs: config.sseSessionMs,
      sessionsMax: config.sseSessionsMax,
      subscriptionsMax: config.sseSubscriptionsMax,
      onChange: (sessionId) => bus.publish(subjects.sseSession(sessionId), new Uint8Array()),
    }),
    stream: { ...delivery, clock, formatOf: (kinds) => sseFormat(config.dialect, kinds) },
  });
  let forgetting: NodeJS.Timeout | undefined;

  return {
    name: 'subscription-fanout',
    door: {
      prefixes: ['/ws', '/sse'],
      handle: (request, response) => {
        if (isSse(request)) sse.handle(request, response);
        else demandUpgrade(response);
      },
      stays: (request) => isSse(request) && request.method === 'GET',
      upgrade: (request, socket, head) => {
        if (!isSse(request)) return void connections.upgrade(request, socket, head);
        refuseUpgrade(socket, new AppError('invalid_request', 'this is no WebSocket endpoint'));
      },
    },
    isReady: () => isReady && bus.isConnected(),
    start: async () => {
      registry.start();
      changes = bus.subscribe(subjects.authChanged, () => {
        connections.recheck().catch(onError);
        sse.recheck().catch(onError);
      });
      connections.start();
      sse.start();
      const forget = () => deleteExpiredSseSessions(database).catch(onError);
      forgetting = setInterval(() => void forget(), FORGET_MS);
      isReady = true;
    },
    [Symbol.asyncDispose]: async () => {
      isReady = false;
      changes?.unsubscribe();
      clearInterval(forgetting);
      sse.close();
      await connections.close();
      registry.close();
    },
  };
}

function isSse({ url }: IncomingMessage): boolean {
  return url?.startsWith('/sse') === true;
}

function demandUpgrade(response: ServerResponse): void {
  response.writeHead(426, { 'Content-Type': 'text/plain; charset=utf-8', Upgrade: 'websocket' });
  response.end('this is a WebSocket endpoint');
}
