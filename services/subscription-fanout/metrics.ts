import { Counter, Gauge, type Registry } from 'prom-client';

/** Metrics of the fanout, registered on the service's registry. */
export function createFanoutMetrics(registry: Registry) {
  const registers = [registry];
  return {
    connections: new Gauge({
      name: 'cairn_fanout_connections',
      help: 'Open WebSocket connections.',
      registers,
    }),
    subscriptions: new Gauge({
      name: 'cairn_fanout_subscriptions',
      help: 'Subscriptions over all connections.',
      registers,
    }),
    delivered: new Counter({
      name: 'cairn_fanout_delivered_frames_total',
      help: 'Event frames written to sockets.',
      registers,
    }),
    reads: new Counter({
      name: 'cairn_fanout_log_reads_total',
      help: 'Pages read from the log, for subscribers that were away or notices that were lost.',
      registers,
    }),
    heals: new Counter({
      name: 'cairn_fanout_heals_total',
      help: 'Times a context was read from the log because notices were missing.',
      registers,
    }),
  };
}
