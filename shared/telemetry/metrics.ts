import { collectDefaultMetrics, Registry } from 'prom-client';

/** The registry of one process, with its CPU, memory, event loop and garbage collection. */
export function createMetrics(): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  return registry;
}
