import type { ServerResponse } from 'node:http';
import type { BusSubscription } from '#shared/bus/bus.ts';
import { subjects } from '#shared/bus/subjects.ts';
import { createAuthenticate, recheck } from '#shared/service/authenticate.ts';
import type { Service, ServiceDeps } from '#shared/service/service.ts';
import type { FanoutConfig } from './config.ts';
import { ContextFeed } from './delivery/context-feed.ts';
import { Gate } from '#shared/util/gate.ts';
import { createLogReader } from './delivery/log-reader.ts';
import { createFanoutMetrics } from './metrics.ts';
import { FeedRegistry } from './subscriptions/feed-registry.ts';
import { Connections } from './ws/connections.ts';
import { webSocketFormat } from './ws/web-socket-format.ts';

const LOG_READS_MAX = 8;

/** WebSocket subscriptions: delivers the log of each context, in order, to who listens. */
export function createFanoutService(deps: ServiceDeps, config: FanoutConfig): Service {
  const { bus, clock, database, log } = deps;
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
        log: openLog(contextId),
        onMove,
        ringMax: config.ringMax,
        ringBytesMax: config.ringBytesMax,
        onHeal: () => metrics.heals.inc(),
        onError: (error) => log.warn({ err: error, contextId }, 'the log cannot be read'),
      }),
  });
  const connections = new Connections({
    config,
    clock,
    authenticate: createAuthenticate(deps),
    proxies: deps.proxies,
    recheck: (credentials) => recheck(bus, clock, credentials),
    connection: {
      registry,
      format: webSocketFormat(config.dialect),
      onDelivered: (frames) => metrics.delivered.inc(frames),
      onCount: (change) => metrics.subscriptions.inc(change),
      onError,
    },
    onConnections: (open) => metrics.connections.set(open),
  });

  return {
    name: 'subscription-fanout',
    door: {
      prefixes: ['/ws'],
      handle: (_request, response) => demandUpgrade(response),
      upgrade: (request, socket, head) => void connections.upgrade(request, socket, head),
    },
    isReady: () => isReady && bus.isConnected(),
    start: async () => {
      registry.start();
      changes = bus.subscribe(subjects.authChanged, () => {
        connections.recheck().catch(onError);
      });
      connections.start();
      isReady = true;
    },
    [Symbol.asyncDispose]: async () => {
      isReady = false;
      changes?.unsubscribe();
      await connections.close();
      registry.close();
    },
  };
}

function demandUpgrade(response: ServerResponse): void {
  response.writeHead(426, { 'Content-Type': 'text/plain; charset=utf-8', Upgrade: 'websocket' });
  response.end('this is a WebSocket endpoint');
}
